"""Arithmetic that client, plan and engine must agree on."""

from __future__ import annotations

import pytest

from wan_local.errors import InvalidPlan
from wan_local.geometry import PATCHED_STRIDE, Size, interpolated_frames, latent_frames, size_for


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
