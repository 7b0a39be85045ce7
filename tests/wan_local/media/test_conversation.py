import os
import signal
from pathlib import Path

import pytest

from tests.wan_local.media.files import video
from wan_local.errors import BadMedia
from wan_local.media.conversation import Conversation, described, refused
from wan_local.media.info import MediaLimits


def processes() -> set[int]:
    """Return the ids of this process' children."""
    path = f"/proc/self/task/{os.getpid()}/children"
    return set(map(int, Path(path).read_text().split()))


def test_nothing_is_left_of_a_talk_that_is_broken_off(tmp_path):
    """A cancelled job must not leave a decoder behind."""
    path = video(tmp_path / "a.mp4", 40)
    before = processes()

    with Conversation(path, MediaLimits(), frames=True) as conversation:
        next(conversation.frames(conversation.info().size))
        started = processes() - before

    assert 1 == len(started)
    assert before == processes()


def test_a_process_that_dies_is_a_bad_file(tmp_path):
    """A decoder's crash is the file's doing, and the next request's process is a new one."""
    path = video(tmp_path / "a.mp4", 40)
    before = processes()

    with Conversation(path, MediaLimits(), frames=True) as conversation:
        size = conversation.info().size
        [child] = processes() - before
        os.kill(child, signal.SIGSEGV)
        with pytest.raises(BadMedia, match="cannot be decoded"):
            list(conversation.frames(size))


def test_a_process_that_falls_silent_is_given_up(tmp_path):
    """A file that sends a decoder round in circles must not hold a thread for ever."""
    path = video(tmp_path / "a.mp4", 40)
    before = processes()

    with Conversation(path, MediaLimits(silence=0.2), frames=True) as conversation:
        [child] = processes() - before
        os.kill(child, signal.SIGSTOP)
        # It may have said some of it before it was stopped; the pipe does not hold all frames.
        with pytest.raises(BadMedia, match="within 0 seconds"):
            list(conversation.frames(conversation.info().size))

    assert before == processes()


def test_the_end_of_its_computing_time_is_said(tmp_path):
    """The kernel's signal; the client reads a sentence."""
    path = video(tmp_path / "a.mp4", 40)
    before = processes()

    with Conversation(path, MediaLimits(), frames=True) as conversation:
        size = conversation.info().size
        [child] = processes() - before
        os.kill(child, signal.SIGXCPU)
        with pytest.raises(BadMedia, match="takes more than 60 seconds"):
            list(conversation.frames(size))


@pytest.mark.parametrize(
    "lie",
    [
        {"size": {"width": 10**6, "height": 10**6}},
        {"size": {"width": -4, "height": 4}},
        {"size": {"width": 4.5, "height": 4}},
        {"size": {"width": 4}},
        {"size": None},
        {"num_frames": 10**9},
        {"num_frames": -5},
        {"num_frames": True},
        {"kind": "zebra"},
        {"kind": []},
        {"fps": "fast"},
        {"fps": float("nan")},
        {"duration": float("inf")},
    ],
    ids=str,
)
def test_a_decoder_that_was_taken_over_is_not_believed(lie):
    """Memory is set aside for a frame as large as it says."""
    truth = {"size": {"width": 64, "height": 48}, "kind": "video", "num_frames": 5, "fps": 16.0}

    assert 5 == described(truth, MediaLimits()).num_frames
    with pytest.raises(BadMedia, match="cannot be decoded"):
        described(truth | lie, MediaLimits())


@pytest.mark.parametrize(
    "words", [{}, {"message": 7, "type": "value_error", "ctx": {}}, {"message": "no", "ctx": {}}]
)
def test_nor_is_its_refusal_if_it_is_none(words):
    """What it says becomes the client's error, which has a shape."""
    assert "cannot be decoded" in str(refused(words))


def test_a_refusal_keeps_its_words():
    """The limit that a file passed is the client's to know."""
    error = refused({"message": "too large", "type": "image_too_large", "ctx": {"max": 4}})

    assert ("too large", "image_too_large", {"max": 4}) == (str(error), error.type, error.ctx)
