"""Latents -> RGB by a matrix, on latents that a real Wan 2.1 has made."""

from __future__ import annotations

import pytest
import torch

from tests.shared_data import shared
from wan_local.catalog import MODELS
from wan_local.models.latent_colours import BIASES, MATRICES, to_colours


@pytest.fixture(scope="module")
def cake():
    """A cheesecake with berries and mint on a white plate: [16, 16 frames, 40, 64]."""
    path = shared("data/latents/test_latents_wan.pth")
    # A pickle: read by torch's restricted reader, and by tests only.
    return torch.load(path, map_location="cpu", weights_only=True)[0].float()


def test_every_model_has_its_matrix():
    """A new kind of latents needs a row here, or asking for its previews fails the job."""
    for channels in {spec.latent_channels for spec in MODELS.values()}:
        assert {3} == {len(colour) for colour in MATRICES[channels]}
        assert channels == len(MATRICES[channels])
        assert 3 == len(BIASES[channels])


@pytest.mark.parametrize("frame", [0, 8, 15])
def test_the_colours_of_a_real_video_are_right(cake, frame):
    """Mint is green, the plate is light, the table behind it dark: seen on the picture itself."""
    picture = to_colours(cake[:, frame])
    mint = picture[10:14, 20:26].mean((0, 1))
    plate = picture[32:35, 4:12].mean((0, 1))
    table = picture[0:4, 0:20].mean((0, 1))

    assert mint[1] > mint[0]
    assert mint[1] > mint[2]
    assert plate.min() > table.max() + 0.2


@pytest.mark.parametrize("frame", [0, 8, 15])
def test_hardly_anything_is_burnt_out(cake, frame):
    """The bare matrix is too strong: half of the pixels' values went past black or white."""
    picture = to_colours(cake[:, frame])

    assert ((picture == 0) | (picture == 1)).float().mean() < 0.025
    assert picture.std() > 0.12


def test_a_faint_estimate_stays_faint():
    """Half-way through the picture is vague, and should not be made to look sharp."""
    faint = torch.randn(16, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.05

    assert to_colours(faint).std((0, 1)).max() < 0.05
