"""The measure of an interpolator: fading against itself, and against one that knows the motion."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.shared_data import shared
from wan_local.interpolation.opening import open_interpolator
from wan_local.interpolation.pairs import Interpolator
from weights.train.evaluate_interpolators import (
    SIDE,
    TEXELS,
    UNSEEN,
    clip,
    clips,
    read,
    shifts,
    stills,
)
from weights.train.textures import textures

TRAINED = Path(__file__).parents[3] / "weights" / "mini"


class Fading(nn.Module):
    """A network that does what every network is compared with."""

    multiple = 1

    def __init__(self):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(()))

    def see(self, frame):
        return frame

    def between(self, first, second, times):
        for time in times:
            yield first * (1 - time) + second * time


class RollingRight(Fading):
    """A network that knows that everything moves eight pixels to the right."""

    def between(self, first, second, times):
        for time in times:
            yield torch.roll(first, round(8 * time), dims=3)


def test_fading_gains_nothing_over_itself():
    """The zero of the scale, on textures and on clips."""
    seen = list(textures(2, torch.Generator().manual_seed(0)))
    moving = torch.rand(9, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    assert 0 == shifts(Interpolator(Fading()), seen, 8)["gain"]
    assert 0 == clip(Interpolator(Fading()), moving)["gain"]


def test_one_that_knows_the_motion_gains_a_lot():
    """The first of the directions is to the right, and the border is not compared."""
    seen = list(textures(1, torch.Generator().manual_seed(0)))

    assert shifts(Interpolator(RollingRight()), seen, 8)["gain"] > 20


def test_every_second_frame_is_what_is_made_again():
    """Frames 1, 3, 5 …; the others are given."""
    frames = torch.zeros(9, 3, 32, 32)
    frames[1::2] = 1.0

    assert 0 == clip(Interpolator(Fading()), frames)["blend"]
    assert clip(Interpolator(Fading()), frames[1:])["blend"] == 0


@pytest.mark.parametrize(("side", "which"), [("shorter", min), ("longer", max)])
def test_a_clip_is_shrunk_to_the_size_it_is_compared_at(side, which):
    """Both numbers are written down: the same network gained 1.7 dB more at the larger size."""
    frames = list(read(shared("data/clips/sdcpp_Wan2.1_14B_t2v.mp4"), side))

    assert 33 == len(frames)
    assert SIDE == which(frames[0].shape[1:])


def test_all_clips_of_a_folder_count_the_same(tmp_path):
    """However many frames they have."""
    for name in ("sdcpp_Wan2.1_14B_t2v", "sdcpp_Wan2.2_5B_i2v"):
        (tmp_path / f"{name}.mp4").symlink_to(shared(f"data/clips/{name}.mp4"))
    table = clips(Interpolator(Fading()), tmp_path, "longer")

    assert ["sdcpp_Wan2.1_14B_t2v", "sdcpp_Wan2.2_5B_i2v"] == list(table["clips"])
    assert (0, 0) == (table["mean_gain"], table["better_on"])
    assert [(3, TEXELS, TEXELS)] * 2 == [tuple(still.shape) for still in stills(tmp_path, 2)]


@pytest.mark.parametrize("name", ["rife"])
def test_a_trained_network_follows_motion_it_never_saw(name):
    """Opened as a published file is; 21 dB were measured over sixteen textures."""
    interpolator = open_interpolator(name, TRAINED, torch.device("cpu"))
    unseen = list(textures(3, torch.Generator().manual_seed(UNSEEN)))

    assert shifts(interpolator, unseen, 8)["gain"] > 14


@pytest.mark.parametrize("name", ["rife"])
@pytest.mark.parametrize(("title", "least"), [("sdcpp_Wan2.2_14B_t2v", 3), ("turbo_student_1", -1)])
def test_a_trained_network_is_no_worse_than_fading_on_video(name, title, least):
    """In the second clip next to nothing moves: an earlier network lost 6 dB there."""
    interpolator = open_interpolator(name, TRAINED, torch.device("cpu"))
    frames = torch.stack(list(read(shared(f"data/clips/{title}.mp4"), "shorter"))[:9])

    assert clip(interpolator, frames)["gain"] > least
