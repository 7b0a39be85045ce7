"""Arithmetic that client, plan and engine must agree on."""

from __future__ import annotations

import pytest

from wan_local.errors import InvalidPlan
from wan_local.geometry import (
    PATCHED_STRIDE,
    Size,
    interpolated_frames,
    latent_frames,
    round_to,
    size_for,
    size_like,
    size_within,
)


@pytest.mark.parametrize("resolution", ["480p", "580p", "720p"])
@pytest.mark.parametrize("aspect_ratio", ["16:9", "9:16", "1:1"])
def test_every_size_lies_on_the_grid(resolution, aspect_ratio):
    """A side off the grid cannot be cut into patches."""
    size = size_for(resolution, aspect_ratio)

    assert (0, 0) == (size.width % PATCHED_STRIDE, size.height % PATCHED_STRIDE)


def test_portrait_is_landscape_on_its_side():
    """A phone's video has the pixels of a monitor's."""
    assert Size(1280, 720) == size_for("720p", "16:9")
    assert Size(720, 1280) == size_for("720p", "9:16")


@pytest.mark.parametrize("resolution", ["480p", "580p", "720p"])
def test_a_square_costs_what_the_wide_form_costs(resolution):
    """The price of a request is its resolution, not its shape."""
    wide, square = size_for(resolution, "16:9"), size_for(resolution, "1:1")

    assert wide.width * wide.height == pytest.approx(square.width * square.height, rel=0.03)


@pytest.mark.parametrize(
    ("resolution", "wide", "square"),
    [
        ("480p", Size(832, 480), Size(608, 608)),
        ("580p", Size(1024, 576), Size(768, 768)),
        ("720p", Size(1280, 704), Size(928, 928)),
    ],
)
def test_the_5b_model_has_sizes_on_its_own_grid(resolution, wide, square):
    """Its VAE takes 16 pixels a side to one latent; 1280×704 is the size it was trained on."""
    assert wide == size_for(resolution, "16:9", 32)
    assert Size(wide.height, wide.width) == size_for(resolution, "9:16", 32)
    assert square == size_for(resolution, "1:1", 32)


@pytest.mark.parametrize("grid", [16, 32])
@pytest.mark.parametrize("resolution", ["480p", "580p", "720p"])
@pytest.mark.parametrize("aspect_ratio", ["16:9", "9:16", "1:1"])
def test_a_picture_of_a_usual_shape_gets_the_usual_size(resolution, aspect_ratio, grid):
    """`auto` and the same aspect by name must not be two different videos."""
    across, down = map(int, aspect_ratio.split(":"))
    size = size_for(resolution, aspect_ratio, grid)

    assert size == size_like(resolution, 120 * across, 120 * down, grid)


@pytest.mark.parametrize(
    ("picture", "size"),
    [
        ((1600, 1200), Size(1104, 832)),
        ((1200, 1600), Size(832, 1104)),
        ((2560, 1080), Size(1472, 624)),
        ((1, 1), Size(960, 960)),
        ((3000, 1000), Size(1632, 560)),
        ((30_000, 1000), Size(1632, 560)),
        ((1, 16_000), Size(560, 1632)),
    ],
)
def test_any_picture_gets_a_size_of_its_shape(picture, size):
    """Up to three to one; beyond it a strip would be generated that no model has seen."""
    assert size == size_like("720p", *picture, 16)


@pytest.mark.parametrize("grid", [16, 32])
@pytest.mark.parametrize("resolution", ["480p", "580p", "720p"])
def test_no_shape_costs_more_than_the_resolution(resolution, grid):
    """Memory was measured for the resolution; a shape must not be what breaks it."""
    wide = size_for(resolution, "16:9", grid)
    for width in range(100, 1000, 7):
        size = size_like(resolution, width, 333, grid)

        assert wide.width * wide.height >= size.width * size.height
        assert 0.88 * wide.width * wide.height < size.width * size.height
        assert (0, 0) == (size.width % grid, size.height % grid)


def test_an_area_of_ones_own():
    """For pictures, which have no resolution."""
    assert Size(1024, 1024) == size_within(1024 * 1024, 5, 5, 32)


@pytest.mark.parametrize(
    ("side", "rounded"), [(1, 16), (23, 16), (24, 32), (1080, 1088), (512, 512)]
)
def test_sides_are_rounded_to_the_nearest(side, rounded):
    """A half goes up, and nothing is too small to be rounded."""
    assert rounded == round_to(side, 16)


@pytest.mark.parametrize(
    ("frames", "latent"), [(1, 1), (2, 2), (5, 2), (17, 5), (80, 21), (81, 21), (82, 22), (161, 41)]
)
def test_latent_frames_hold_at_least_the_frames_asked_for(frames, latent):
    """A client that asks for 80 frames gets 80, not 77."""
    assert latent == latent_frames(frames)
    assert frames <= 1 + 4 * (latent - 1)


@pytest.mark.parametrize(("between", "expected"), [(0, 81), (1, 161), (4, 401)])
def test_new_frames_stand_between_pairs(between, expected):
    """81 frames have 80 gaps, so one frame each makes 161 and not 162."""
    assert expected == interpolated_frames(81, between)


@pytest.mark.parametrize("sides", [(0, 16), (16, -16)])
def test_a_size_without_pixels_is_refused(sides):
    """A zero that slips through becomes an empty tensor far from its cause."""
    with pytest.raises(InvalidPlan, match="positive"):
        Size(*sides)
