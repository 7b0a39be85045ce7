"""Cuts are found, and motion is not taken for one."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from tests.shared_data import shared
from tests.wan_local.interpolation.pictures import clip, moving
from wan_local.interpolation.cuts import CutDetector, recoloured, shrunk, unmatched

CLIPS = [
    "sdcpp_Wan2.1_14B_i2v",  # these two begin with the same picture
    "sdcpp_Wan2.2_14B_i2v",
    "sdcpp_Wan2.1_14B_flf2v",  # the fastest motion of all
    "sdcpp_Wan2.2_5B_i2v",
    "turbo_student_6",
]


def small_frames(name, count=12, skipped=0):
    frames = clip(shared(f"data/clips/{name}.mp4"), longer_side=320, frames=skipped + count)
    pictures = frames[skipped:].permute(0, 3, 1, 2).float() / 255
    return [shrunk(picture[None]) for picture in pictures]


def cuts(frames):
    detector = CutDetector()
    return [detector.is_cut(*pair) for pair in pairwise(frames)]


@pytest.mark.parametrize("name", CLIPS)
def test_a_clip_has_no_cut_in_it(name):
    """A frame repeated in the middle of a motion is a stutter."""
    assert not any(cuts(small_frames(name)))


def test_every_joint_of_two_clips_is_a_cut():
    """What would be made between two scenes is a ghost of both."""
    # Two of them begin with the same picture, which is no cut: later on they have parted.
    scenes = [small_frames(name, skipped=10) for name in CLIPS]
    for before in scenes:
        for after in scenes:
            if before is not after:
                assert [11] == [i for i, cut in enumerate(cuts(before + after)) if cut]


def test_motion_is_no_difference():
    """A pan changes every pixel, and no block of them."""
    first, second = (shrunk(frame) for frame in moving(480, 800, shift=(30, 0)))

    assert unmatched(first, second) < 0.02 < float((first - second).abs().mean())


def test_equal_histograms_are_no_recolouring():
    """Whatever moved where."""
    first = shrunk(moving(48, 80, shift=(0, 0))[0])

    assert 0 == recoloured(first, first.flip(1))
    assert 1 == pytest.approx(recoloured(torch.zeros(3, 48, 80), torch.ones(3, 48, 80)))
