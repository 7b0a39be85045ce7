"""Synthetic motion, and the flow that is said to be its truth."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from wan_local.interpolation.warp import backward_warp
from weights.train.motion import Difficulty, triplets, whole_shift
from weights.train.textures import textures

STEADY = Difficulty(shift=10, warp=0.05, bend=0.5)


def scenes(seed=0, count=8, size=64, difficulty=STEADY, **wishes):
    generator = torch.Generator().manual_seed(seed)
    return triplets(textures(6, generator), count, size, difficulty, generator, **wishes)


def test_the_seed_decides_everything():
    """A network has to be made again from its seed, bit for bit."""
    assert torch.equal(scenes(3).middle, scenes(3).middle)
    assert not torch.equal(scenes(3).middle, scenes(4).middle)


def test_pictures_are_pictures():
    """In the range the networks are shown at work, and none of them empty."""
    triplet = scenes()
    for frame in (triplet.first, triplet.middle, triplet.second):
        assert (8, 3, 64, 64) == tuple(frame.shape)
        assert 0 <= frame.min() < frame.max() <= 1
        assert frame.flatten(1).std(1).min() > 0.01


def test_following_the_flow_leads_to_the_same_thing():
    """What the loss calls a wrong flow must be wrong."""
    triplet = scenes()
    velocity = triplet.velocity[1]
    ways = (-triplet.time * velocity, (1 - triplet.time) * velocity)
    frames = (triplet.first, triplet.second)
    followed = [
        (backward_warp(frame, way) - triplet.middle).abs()
        for frame, way in zip(frames, ways, strict=True)
    ]
    stayed = [(frame - triplet.middle).abs() for frame in frames]

    # The better of the two: what is covered in one frame is seen in the other.
    assert torch.minimum(*followed).median() < 0.3 * torch.maximum(*stayed).median()
    assert torch.minimum(*followed).mean() < 0.3 * torch.maximum(*stayed).mean()


def test_what_stands_still_has_no_flow():
    """And all three frames are one."""
    triplet = scenes(difficulty=Difficulty(0, 0))

    assert torch.allclose(triplet.first, triplet.second, atol=1e-6)
    assert max(float(velocity.abs().max()) for velocity in triplet.velocity) == 0


@pytest.mark.parametrize("halfway", [True, False])
def test_the_middle_is_where_it_is_said_to_be(halfway):
    """FILM knows half-way only; RIFE is to know all times."""
    times = scenes(count=64, size=16, halfway=halfway).time.unique()

    assert halfway == (len(times) == 1)
    assert 0.5 in times.tolist()


def test_calm_scenes_are_slower_and_some_stand_still():
    """Most of real video hardly moves, and that is where small networks lost to fading."""
    fast, slow = (
        scenes(count=64, size=32, difficulty=Difficulty(10, 0, calm=calm)).velocity[1]
        for calm in (0.0, 0.5)
    )
    ways = slow.norm(dim=1).amax((1, 2))

    assert slow.abs().mean() < 0.7 * fast.abs().mean()
    assert 3 <= int((ways == 0).sum()) < 32


def test_noise_is_each_frames_own_and_light_changes_along_a_line():
    """The mean of two frames has less noise than either: what warping one of them throws away."""
    still = scenes(count=64, difficulty=Difficulty(0, 0, disturbed=1.0), halfway=True)
    apart = (still.first - still.middle).square().mean()
    faded = ((still.first + still.second) / 2 - still.middle).square().mean()

    assert apart > 1e-6
    assert faded < 0.3 * apart


def test_a_whole_shift_moves_by_whole_pixels():
    """What the evaluation calls a shift of eight is one."""
    texture = textures(1, torch.Generator().manual_seed(0))[0]
    one, two = (whole_shift(texture, torch.tensor([x, 0.0]), 64) for x in (0.0, 8.0))

    assert torch.allclose(one[..., :-8], two[..., 8:], atol=1e-5)


def test_small_parts_move_by_themselves():
    """A hand, a tail: what moves in real video is seldom as large as the picture."""
    slow = replace(STEADY, calm=1.0)
    alone, joined = (
        scenes(count=16, difficulty=replace(slow, parts=parts)).velocity[1] for parts in (0, 4)
    )
    jumps = [(each.diff(dim=3).norm(dim=1) > 1).float().mean((1, 2)) for each in (alone, joined)]

    assert jumps[1].mean() > 1.5 * jumps[0].mean()


def test_a_dissolve_is_faded_through():
    """Where nothing moves the frame between is the mean, though the two are of different things."""
    triplet = scenes(difficulty=Difficulty(0, 0, fading=1.0), halfway=True)
    change = (triplet.first - triplet.second).abs().flatten(1).mean(1)

    assert change.median() > 0.05
    assert torch.allclose((triplet.first + triplet.second) / 2, triplet.middle, atol=1e-5)
    assert max(float(velocity.abs().max()) for velocity in triplet.velocity) == 0
