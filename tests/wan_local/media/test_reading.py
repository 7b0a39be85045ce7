import os
from pathlib import Path

import numpy as np
import pytest

from tests.shared_data import shared
from tests.wan_local.media.files import brightness, picture, video
from wan_local.errors import BadMedia
from wan_local.media.reading import read_picture, read_video


def test_a_picture_arrives_as_it_was(tmp_path):
    """Losslessly stored, it comes out bit for bit."""
    pixels = read_picture(picture(tmp_path / "a.png", (48, 32), (1, 2, 3)))

    assert (32, 48, 3) == pixels.shape
    assert (pixels == np.array([1, 2, 3], np.uint8)).all()


def test_frames_arrive_one_by_one(tmp_path):
    """A video is never in memory as a whole."""
    frames = read_video(video(tmp_path / "a.mp4", 12, fps=16), fps=8, num_frames=4)

    assert [0, 2, 4, 6] == brightness(frames)


def test_closing_the_generator_ends_the_process(tmp_path):
    """Cancel is `close()`, here as everywhere."""
    frames = read_video(video(tmp_path / "a.mp4", 40))
    next(frames)

    frames.close()

    assert "" == Path(f"/proc/self/task/{os.getpid()}/children").read_text()


def test_a_video_is_no_picture_and_the_other_way_round(tmp_path):
    """The engine must not get a frame of something else."""
    with pytest.raises(BadMedia, match="not a video"):
        next(read_video(picture(tmp_path / "a.png")))
    with pytest.raises(BadMedia, match="not an image"):
        read_picture(video(tmp_path / "a.mp4", 2))


def test_real_clips_are_read_whole():
    """Made by other programs than ours."""
    frames = list(read_video(shared("data/clips/sdcpp_Wan2.2_5B_t2v.mp4")))

    assert len(frames) > 16
    assert 1 == len({frame.shape for frame in frames})
