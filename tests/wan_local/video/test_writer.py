"""Frames go through ffmpeg and come back as they were; and every way in which that can end."""

from __future__ import annotations

import av
import numpy as np
import pytest
import torch

from tests.watching import children
from wan_local.errors import EncodingFailed
from wan_local.geometry import Size
from wan_local.plan import EncodingSpec
from wan_local.video.probe import probe
from wan_local.video.writer import VideoWriter

SIZE = Size(64, 48)
BT709 = (1, 1, 1, 1)
PLAIN = EncodingSpec()


def noise(frames, size=SIZE):
    generator = torch.Generator().manual_seed(0)
    shape = (frames, size.height, size.width, 3)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def write(path, frames, *, size=SIZE, fps=16, encoding=PLAIN, ffmpeg=None):
    with VideoWriter(path, size, fps=fps, encoding=encoding, ffmpeg=ffmpeg) as video:
        for chunk in frames.split(4):
            video.write(chunk)
    return path


def a_program(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("fps", [4, 16, 23.976, 60])
def test_a_video_says_what_was_asked_for(tmp_path, fps):
    """Players and editors believe the header: H.264, 4:2:0, BT.709, playable while it loads."""
    info = probe(write(tmp_path / "a.mp4", noise(9), fps=fps))

    assert (SIZE, 9, "h264", "yuv420p") == (
        info.size,
        info.num_frames,
        info.codec,
        info.pixel_format,
    )
    assert fps == pytest.approx(info.fps, rel=1e-6)
    assert BT709 == info.colours
    assert info.faststart


@pytest.mark.parametrize("size", [Size(850, 482), Size(2, 2), Size(18, 66)], ids=str)
def test_any_even_size_is_kept_exactly(tmp_path, size):
    """Other exporters scale to multiples of 16, and the client's composition shifts."""
    info = probe(write(tmp_path / "a.mp4", noise(2, size), size=size))

    assert size == info.size


def test_an_odd_size_is_refused(tmp_path):
    """Halved colour planes need even sides; cutting a row off in silence is not an answer."""
    with pytest.raises(EncodingFailed, match="even width and height, got 65×48"):
        VideoWriter(tmp_path / "a.mp4", Size(65, 48), fps=16, encoding=PLAIN)


def test_colours_come_back_as_they_went(tmp_path):
    """With ffmpeg's default matrix, bars came back up to 25 levels off."""
    bars = [(192, 192, 192), (192, 192, 0), (0, 192, 192), (0, 192, 0), (192, 0, 192), (192, 0, 0)]
    frame = torch.tensor(bars, dtype=torch.uint8).repeat_interleave(16, 0).expand(1, 64, -1, -1)
    path = tmp_path / "bars.mp4"
    write(path, frame.contiguous(), size=Size(96, 64), encoding=EncodingSpec(quality="maximum"))

    with av.open(str(path)) as container:
        picture = next(container.decode(video=0))
        assert (1, 1) == (picture.colorspace, picture.color_range)
        back = picture.reformat(
            format="rgb24", src_colorspace="ITU709", dst_colorspace="ITU709"
        ).to_ndarray()
    centres = back[32, 8::16].astype(int)
    assert np.abs(centres - np.array(bars)).max() <= 3


def test_frames_come_back_in_order(tmp_path):
    """The thread between decoder and pipe must not swap or lose chunks."""
    levels = torch.arange(0, 240, 10, dtype=torch.uint8)
    frames = levels.view(-1, 1, 1, 1).expand(-1, 48, 64, 3).contiguous()
    write(tmp_path / "a.mp4", frames, encoding=EncodingSpec(quality="maximum"))

    with av.open(str(tmp_path / "a.mp4")) as container:
        grey = [f.reformat(format="rgb24").to_ndarray().mean() for f in container.decode(video=0)]
    assert levels.tolist() == pytest.approx(grey, abs=3)


def test_better_quality_is_a_larger_file(tmp_path):
    """That is all the API promises of its four words, and it must be so."""
    sizes = [
        write(tmp_path / f"{q}.mp4", noise(8), encoding=EncodingSpec(quality=q)).stat().st_size
        for q in ("low", "medium", "high", "maximum")
    ]

    assert sizes == sorted(set(sizes))


def test_the_file_appears_when_it_is_whole(tmp_path):
    """Whoever sees the name may read the file."""
    path = tmp_path / "a.mp4"
    with VideoWriter(path, SIZE, fps=16, encoding=PLAIN) as video:
        video.write(noise(4))
        assert not path.exists()

    assert [path] == list(tmp_path.iterdir())
    assert [] == children()


def test_the_same_frames_make_the_same_file(tmp_path):
    """A retried job's video has the same hash, and is stored once."""
    one, two = (write(tmp_path / f"{i}.mp4", noise(9)).read_bytes() for i in range(2))

    assert one == two


def test_waiting_for_ffmpeg_can_be_interrupted(tmp_path):
    """A slow encoder's backlog must not make a cancelled job wait."""
    slow = a_program(tmp_path / "slow", "exec sleep 60")
    with (
        pytest.raises(KeyboardInterrupt),
        VideoWriter(tmp_path / "a.mp4", SIZE, fps=16, encoding=PLAIN, ffmpeg=slow) as video,
    ):
        video.write(noise(1))
        assert not video.finished(within=0.01)
        assert not video.finished(within=0.01)
        raise KeyboardInterrupt

    assert [] == children()


@pytest.mark.parametrize("error", [RuntimeError, GeneratorExit, KeyboardInterrupt])
@pytest.mark.parametrize("chunks", [0, 1, 12])
def test_whatever_ends_the_block_leaves_no_file_and_no_process(tmp_path, error, chunks):
    """A cancelled job's ffmpeg would go on eating a core, and its file the disk."""
    with (
        pytest.raises(error),
        VideoWriter(tmp_path / "a.mp4", SIZE, fps=16, encoding=PLAIN) as video,
    ):
        for _ in range(chunks):
            video.write(noise(4))
        raise error

    assert [] == list(tmp_path.iterdir())
    assert [] == children()


def test_a_stuck_ffmpeg_does_not_hold_a_cancel_up(tmp_path):
    """It reads nothing, so the feeder stands in the pipe; killing it frees both."""
    stuck = a_program(tmp_path / "stuck", "exec sleep 1000")  # longer than a test may take
    with (
        pytest.raises(GeneratorExit),
        VideoWriter(
            tmp_path / "a.mp4", Size(640, 480), fps=16, encoding=PLAIN, ffmpeg=stuck
        ) as video,
    ):
        video.write(noise(1, Size(640, 480)))
        video.write(noise(1, Size(640, 480)))
        raise GeneratorExit

    assert [] == children()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'Unknown encoder libx264' >&2; exit 1", "video: Unknown encoder libx264$"),
        ("exit 3", "it ended with status 3 and said nothing"),
        ("cat > /dev/null; echo 'No space left on device' >&2; exit 1", "No space left on device"),
        ("kill -SEGV $$", "it ended with status -11"),
        ("yes complaint | head -c 5000000 >&2; exit 1", "complaint complaint"),
    ],
    ids=["no encoder", "silent", "disk full at the end", "crash", "five megabytes of complaints"],
)
def test_a_broken_ffmpeg_is_quoted(tmp_path, script, said):
    """The reason is in its own words; ours would be a guess."""
    broken = a_program(tmp_path / "broken", script)

    with pytest.raises(EncodingFailed, match=said) as caught:
        write(tmp_path / "a.mp4", noise(200, Size(128, 96)), size=Size(128, 96), ffmpeg=broken)

    assert len(str(caught.value)) < 700
    assert [tmp_path / "broken"] == list(tmp_path.iterdir())
    assert [] == children()


def test_no_ffmpeg_at_all_is_a_sentence(tmp_path):
    """An installation without it is told so by its path."""
    with pytest.raises(EncodingFailed, match=r"could not be started.*nowhere"):
        write(tmp_path / "a.mp4", noise(1), ffmpeg=str(tmp_path / "nowhere"))


def test_a_folder_that_is_not_there_is_ffmpegs_error_too(tmp_path):
    """An output directory that was deleted under the server."""
    with pytest.raises(EncodingFailed, match="No such file or directory"):
        write(tmp_path / "gone" / "a.mp4", noise(1))


def test_a_part_of_an_earlier_attempt_is_overwritten(tmp_path):
    """An attempt that was killed with its process leaves its part behind."""
    (tmp_path / "a.mp4.part").write_bytes(b"half of a video")

    assert 9 == probe(write(tmp_path / "a.mp4", noise(9))).num_frames
