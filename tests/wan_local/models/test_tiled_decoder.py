"""A frame decoded in pieces is the frame."""

from __future__ import annotations

import pytest
import torch

from wan_local.models.tiled_decoder import reach
from wan_local.stages.decode import decode_pixels

LEVEL = 2 / 255  # of pixels in [-1, 1]


def latents(channels, frames=2):
    """Latents of more pixels than the layers see at once."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, channels, frames, 8, 14, generator=generator)


@pytest.fixture(params=["2.1", "2.2"])
def case(request, vae, vae_22):
    """A VAE and latents for it."""
    return (vae, latents(16)) if request.param == "2.1" else (vae_22, latents(48))


@pytest.mark.parametrize("tiles", [2, 3])
def test_the_pieces_are_the_whole_within_rounding(case, tiles):
    """A hundredth of a level: other kernels add in another order, and nothing else differs."""
    vae, z = case
    whole = torch.cat(list(decode_pixels(vae, z)), dim=2)
    pieces = torch.cat(list(decode_pixels(vae, z, tiles=tiles)), dim=2)

    assert whole.shape == pieces.shape
    assert (whole - pieces).abs().max() < LEVEL / 100
    assert whole.std() > 10 * LEVEL


def test_there_is_nothing_to_see_where_the_pieces_meet(case):
    """The step across the seam is the step of the whole frame there."""
    vae, z = case
    whole = torch.cat(list(decode_pixels(vae, z)), dim=2)
    pieces = torch.cat(list(decode_pixels(vae, z, tiles=2)), dim=2)
    seam = whole.shape[4] // 2
    steps = [each[..., seam] - each[..., seam - 1] for each in (whole, pieces)]

    assert (steps[0] - steps[1]).abs().max() < LEVEL / 100


def test_the_margin_is_as_wide_as_the_layers_see(vae, vae_22):
    """Counted by hand: 6 + ½ + 3 + ¼ + 1½ + ¼ pixels, a third less for each block left out."""
    assert 12 == reach(vae_22.decoder)  # as published: three residual blocks at each size
    assert 8 == reach(vae.decoder)  # the small checkpoint has two
