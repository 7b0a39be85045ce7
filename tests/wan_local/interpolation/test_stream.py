"""The stream: how many frames, which of them untouched, and what happens at a cut."""

from __future__ import annotations

import pytest
import torch

from tests.wan_local.interpolation.pictures import moving
from wan_local.geometry import interpolated_frames
from wan_local.interpolation.pairs import Interpolator
from wan_local.interpolation.rife import Rife, RifeLayout
from wan_local.interpolation.stream import interpolated


def interpolator():
    torch.manual_seed(0)
    return Interpolator(Rife(RifeLayout((8, 8, 8, 8))).eval())


def pan(frames, *, seed=7, height=32, width=48):
    """A picture that moves by a pixel a frame, as the decoder gives it, [frames, 3, 32, 48]."""
    views = [moving(height, width, shift=(step, 0), seed=seed)[1] for step in range(frames)]
    return torch.cat(views)


def scene(level, frames):
    """A still picture of another brightness."""
    return pan(1).expand(frames, -1, -1, -1) / 4 + level


@pytest.mark.parametrize("between", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("chunks", [[1], [5], [1, 4], [1, 1, 3]])
def test_there_are_as_many_frames_as_promised(between, chunks):
    """(F - 1)(n + 1) + 1, whatever the chunks; the source's own among them, to the bit."""
    source = pan(sum(chunks))
    made = list(interpolated(source.split(chunks), interpolator(), between))
    frames = torch.cat(made)

    assert interpolated_frames(len(source), between) == len(frames)
    assert torch.equal(source, frames[:: between + 1])
    assert (0 <= frames.min()) & (frames.max() <= 1)


def test_no_frames_make_no_frames():
    """A stream that ends before it began."""
    assert [] == list(interpolated(iter(()), interpolator(), 2))


@pytest.mark.parametrize("between", [1, 2, 3, 4])
def test_at_a_cut_the_nearer_frame_is_repeated(between):
    """Nothing of one scene is to be seen in the other."""
    source = torch.cat([scene(0, 3), scene(0.7, 3)])
    frames = torch.cat(list(interpolated([source], interpolator(), between)))
    start = 2 * (between + 1)
    joint = frames[start + 1 : start + 1 + between]
    first = (between + 1) // 2

    assert interpolated_frames(6, between) == len(frames)
    assert all(torch.equal(source[2], frame) for frame in joint[:first])
    assert all(torch.equal(source[3], frame) for frame in joint[first:])


def test_two_source_frames_are_in_memory_and_no_more():
    """161 pictures of 720p are 1.8 GB."""
    taken = []

    def source():
        for index, frame in enumerate(pan(20).split(1)):
            taken.append(index)
            yield frame

    stream = interpolated(source(), interpolator(), 1)
    for count in range(1, 20):
        next(stream)
        assert len(taken) <= count // 2 + 2


@pytest.mark.parametrize("after", [0, 1, 2, 5])
def test_it_may_be_closed_anywhere(after):
    """Closing is how a job is cancelled."""
    closed = []

    def source():
        try:
            yield from pan(9).split(1)
        finally:
            closed.append(True)

    frames = source()
    stream = interpolated(frames, interpolator(), 3)
    for _ in range(after):
        next(stream)
    stream.close()
    frames.close()

    assert closed == ([True] if after else [])
    assert [] == list(stream)
