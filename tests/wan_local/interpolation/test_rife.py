"""RIFE's layouts, and what it makes of real motion; `test_ncnn.py` checks its arithmetic."""

from __future__ import annotations

import pytest
import torch

from tests.shared_data import shared
from tests.wan_local.interpolation.pictures import clip, decibels, moving, sliding
from wan_local.errors import BadCheckpoint
from wan_local.interpolation.opening import load_network
from wan_local.interpolation.pairs import Interpolator
from wan_local.interpolation.rife import Rife, RifeLayout, rife_layout

FOUR, FIVE = (192, 128, 96, 64), (192, 128, 96, 64, 32)
RELEASES = {
    # release: layout, parameters in millions (from the published graphs)
    "4.5": (RifeLayout(FOUR, spare=0), 5.28),
    "4.6": (RifeLayout(FOUR), 5.31),
    "4.7-4.9": (RifeLayout(FOUR, "short", 16, 4), 5.33),
    "4.10-4.19": (RifeLayout(FOUR, "long", 32, 8), 5.36),
    "4.13-lite": (RifeLayout((128, 96, 64, 48), "long", 32, 4), 2.63),
    "4.15-lite": (RifeLayout((128, 96, 64, 48), "long", 16, 4), 2.62),
    "4.20": (RifeLayout((384, 192, 96, 48), "long", 32, 8), 15.4),
    "4.21-4.23": (RifeLayout((256, 192, 96, 48), "long", 32, 8, 8, 0), 9.32),
    "4.22-lite": (RifeLayout((192, 128, 64, 32), "long", 16, 4, 8, 0), 4.87),
    "4.25, 4.26": (RifeLayout(FIVE, "long", 16, 4, 8, 0), 5.66),
    "4.25-lite": (RifeLayout((192, 128, 96, 64, 24), "long", 16, 4, 8, 0), 5.62),
    "4.25-heavy": (RifeLayout((384, 256, 192, 128, 64), "long", 16, 4, 8, 0), 21.7),
    "4.26-large": (RifeLayout(FIVE, "long", 16, 16, 8, 0), 5.72),
}


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_is_known_by_its_shapes(release):
    """Files carry no version; a layout guessed wrong would show noise, or nearly a picture."""
    layout, millions = RELEASES[release]
    with torch.device("meta"):
        weights = Rife(layout).state_dict()

    assert layout == rife_layout(weights)
    assert sum(weight.numel() for weight in weights.values()) / 1e6 == pytest.approx(
        millions, rel=5e-3
    )


def test_other_networks_are_refused():
    """RIFE up to 4.4 has other blocks; loading what fits of it would make pictures, bad ones."""
    with torch.device("meta"):
        weights = Rife(RifeLayout((32, 16, 16, 8))).state_dict()
    entrance = weights["block0.conv0.0.0.weight"]
    wider = weights | {"block0.conv0.0.0.weight": entrance.new_empty(16, 9, 3, 3)}

    for other in ({}, {"fc.weight": entrance}, {"block0.x": entrance}, wider):
        with pytest.raises(BadCheckpoint, match=r"RIFE"):
            rife_layout(other)


def test_time_runs_from_the_first_to_the_second():
    """Frames at 1/3 and 2/3 in the wrong order make a video that trembles."""
    net = load_network("rife", shared("data/weights/mini_rife_fp16.safetensors"), torch.float32)
    start, *truth, end = sliding(12, (0, 1 / 4, 2 / 4, 3 / 4, 1), seed=400)
    made = list(Interpolator(net).between(start, end, [1 / 4, 2 / 4, 3 / 4]))

    for index, frame in enumerate(made):
        nearness = [decibels(frame, true, border=24) for true in truth]
        assert index == nearness.index(max(nearness))


@pytest.mark.parametrize("times", [[1 / 2], [1 / 4, 1 / 2, 3 / 4]])
def test_a_shift_of_eight_pixels_is_followed(times):
    """Ten decibels more than fading from one to the other: the motion was found."""
    net = load_network("rife", shared("data/weights/mini_rife_fp16.safetensors"), torch.float32)
    made, faded = [], []
    for seed in (101, 102, 103):
        start, *truth, end = sliding(8, (0, *times, 1), seed=seed)
        frames = Interpolator(net).between(start, end, times)
        for time, true, frame in zip(times, truth, frames, strict=True):
            made.append(decibels(frame, true, border=24))
            faded.append(decibels(start * (1 - time) + end * time, true, border=24))

    assert sum(made) / len(made) >= sum(faded) / len(faded) + 10


def test_every_second_frame_of_a_real_video_comes_back():
    """Three decibels more than fading on a clip of Wan 2.2 14B that it never saw."""
    net = load_network("rife", shared("data/weights/mini_rife_fp16.safetensors"), torch.float32)
    interpolator = Interpolator(net)
    video = shared("data/clips/sdcpp_Wan2.2_14B_t2v.mp4")
    frames = clip(video, longer_side=256, frames=33).permute(0, 3, 1, 2).float() / 255
    made, faded = [], []
    for first, true, second in zip(frames[:-2:2], frames[1:-1:2], frames[2::2], strict=True):
        (frame,) = interpolator.between(first[None], second[None], [0.5])
        made.append(decibels(frame, true[None]))
        faded.append(decibels((first + second)[None] / 2, true[None]))

    assert sum(made) / len(made) >= sum(faded) / len(faded) + 3


def test_flow_is_refined_from_block_to_block():
    """Training looks at what every block knew."""
    torch.manual_seed(0)
    net = Rife(RifeLayout((32, 16, 16, 8)))
    first, second = moving(64, 96, shift=(2, 0))
    plane = torch.full_like(first[:, :1], 0.5)
    with torch.inference_mode():
        estimates = list(net.refine(net.see(first), net.see(second), plane))

    assert 4 == len(estimates)
    assert {(1, 4, 64, 96)} == {tuple(estimate.flow.shape) for estimate in estimates}
