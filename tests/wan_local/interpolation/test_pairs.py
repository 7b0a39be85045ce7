"""Lending a network to pairs: any size, too little memory, nothing worked out twice."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from tests.wan_local.interpolation.pictures import decibels, moving
from wan_local.interpolation.film import Film, FilmLayout
from wan_local.interpolation.pairs import OVERLAP, Interpolator, tiles
from wan_local.interpolation.rife import Rife, RifeLayout


def rife(**layout):
    torch.manual_seed(0)
    return Rife(RifeLayout((16, 16, 8, 8), "long", 8, 4, **layout)).eval()


def film():
    torch.manual_seed(0)
    return Film(FilmLayout(4, (4, 4, 4, 4))).eval()


def limited(network, pixels):
    """A device on which *network* can only look at so many pixels at a time."""

    def refuse(_module, inputs):
        frame = inputs[0] if torch.is_tensor(inputs[0]) else inputs[0][0]
        if frame.shape[-1] * frame.shape[-2] > pixels:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")

    part = network.encode if isinstance(network, Rife) else network.extract
    part.register_forward_pre_hook(refuse)
    return network


@pytest.mark.parametrize("network", [rife, film])
@pytest.mark.parametrize("size", [(64, 64), (50, 70), (9, 130)])
def test_any_size_goes_in_and_comes_out(network, size):
    """Videos are multiples of 16, networks want 32 or 64."""
    frames = list(Interpolator(network()).between(*moving(*size, shift=(1, 1)), [1 / 3, 2 / 3]))

    assert [(1, 3, *size)] * 2 == [tuple(frame.shape) for frame in frames]
    assert all(frame.dtype == torch.float32 and 0 <= frame.min() for frame in frames)
    assert all(frame.max() <= 1 for frame in frames)


@pytest.mark.parametrize("network", [rife, film])
def test_a_frame_is_looked_at_once_for_both_of_its_pairs(network):
    """The encoder and FILM's pyramid are half of the work."""
    seen = []
    net = network()
    part = net.encode if isinstance(net, Rife) else net.extract
    part.register_forward_hook(lambda *_: seen.append(1))
    interpolator = Interpolator(net)
    frames = [moving(64, 64, shift=(step, 0))[1] for step in range(4)]
    alone = []
    for first, second in pairwise(frames):
        alone.append(next(interpolator.between(first, second, [0.5])))

    made = 3 if network is film else 0  # FILM looks at what it made as well
    assert len(frames) + made == len(seen)
    fresh = Interpolator(network())
    assert torch.equal(alone[-1], next(fresh.between(frames[-2], frames[-1], [0.5])))


@pytest.mark.parametrize(("pixels", "halvings"), [(192 * 256, 0), (192 * 192, 1), (160 * 192, 2)])
def test_memory_that_runs_out_costs_tiles(pixels, halvings):
    """Two halves, then four quarters: the video is made, and the queue goes on."""
    first, second = moving(192, 256, shift=(2, 1))
    interpolator = Interpolator(limited(rife(), pixels))
    frames = list(interpolator.between(first, second, [0.25, 0.5]))
    whole = list(Interpolator(rife()).between(first, second, [0.25, 0.5]))

    assert halvings == interpolator.halvings
    assert 2 == len(frames)
    assert all(decibels(*pair) > 40 for pair in zip(frames, whole, strict=True))


def test_film_is_cut_into_tiles_as_well():
    """Its weights are small, and its features are not: 1.9 GiB at 720p in float16."""
    first, second = moving(128, 256, shift=(2, 1))
    interpolator = Interpolator(limited(film(), 128 * 256 - 1))
    (frame,) = interpolator.between(first, second, [0.5])

    assert 1 == interpolator.halvings
    assert (1, 3, 128, 256) == tuple(frame.shape)


def test_after_two_halvings_the_error_is_raised():
    """Nothing is gained by trying for ever; the engine makes the job's error of it."""
    interpolator = Interpolator(limited(rife(), 64))

    with pytest.raises(torch.OutOfMemoryError):
        list(interpolator.between(*moving(64, 64, shift=(1, 0)), [0.5]))
    assert 2 == interpolator.halvings


def test_what_was_too_big_once_is_not_tried_again():
    """A pair of each frame would pay for the failed attempt."""
    attempts = []
    net = limited(rife(), 192 * 192)
    net.encode.register_forward_pre_hook(lambda _, inputs: attempts.append(inputs[0].shape[-1]))
    interpolator = Interpolator(net)
    for _ in range(2):
        list(interpolator.between(*moving(192, 256, shift=(1, 0)), [0.5]))

    assert 256 not in attempts[1:]


@pytest.mark.parametrize("halvings", [1, 2, 3])
@pytest.mark.parametrize("size", [(720, 1280), (1280, 720), (600, 600)])
def test_tiles_cover_the_frame_and_overlap(halvings, size):
    """A gap would be a black stripe, a missing overlap a seam."""
    regions = tiles(*size, halvings)
    covered = torch.zeros(size)
    for rows, columns in regions:
        covered[rows, columns] += 1

    assert 2**halvings == len(regions)
    assert covered.min() == 1
    assert (covered > 1).sum() >= 2 * OVERLAP * min(size)


def test_frames_are_read_in_the_networks_own_dtype():
    """On a GPU that is float16."""
    frames = Interpolator(rife().half()).between(*moving(64, 64, shift=(1, 0)), [0.5])

    assert torch.float32 == next(frames).dtype


def test_inference_mode_does_not_leak_between_frames():
    """The caller encodes between two frames, in its own mode."""
    frames = Interpolator(rife()).between(*moving(64, 64, shift=(1, 0)), [0.25, 0.5])

    assert [False, False] == [torch.is_inference_mode_enabled() for _ in frames]
