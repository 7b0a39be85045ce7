"""Latents turned into their principal directions."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKLWan

from tests.weights.train.worlds import finished
from weights.train.autoencoder import samples
from weights.train.principal import turn, write
from weights.train.whole_clips import decode, encode


@pytest.fixture
def vae(tmp_path):
    """An untrained one, whose latents differ in scale as those of a trained one do."""
    vae = finished("2.2", tmp_path / "vae")
    with torch.no_grad():
        vae.quant_conv.weight[:48] *= torch.linspace(0.1, 2, 48).view(-1, 1, 1, 1, 1)
        vae.quant_conv.bias[:48] += 1
    vae.save_pretrained(tmp_path / "vae")
    return vae.requires_grad_(requires_grad=False)


@pytest.fixture
def clips():
    return torch.rand(2, 3, 5, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_turning_changes_no_pixel(vae, clips):
    """All directions kept; both layers at the latents are turned the same way."""
    before = decode(vae, encode(vae, clips)[0])
    turn(vae, *samples(vae, "2.2", batches=1), kept=48)

    assert (decode(vae, encode(vae, clips)[0]) - before).abs().max() <= 1e-4 * before.abs().max()


def test_what_is_left_over_is_empty_and_unread(vae, clips):
    """Its mean is not lost: the decoder has it as a constant."""
    before = decode(vae, encode(vae, clips)[0])
    turn(vae, *samples(vae, "2.2", batches=1), kept=40)
    latents, log_variance = encode(vae, clips)
    noised = latents.clone()
    noised[:, 40:] = torch.randn(noised[:, 40:].shape)

    assert [True] * 40 + [False] * 8 == (latents != 0).amax((0, 2, 3, 4)).tolist()
    assert log_variance[:, 40:].max() < -20
    assert torch.equal(decode(vae, noised), decode(vae, latents))
    error = (decode(vae, latents) - before).square().mean()
    assert error < 0.01 * before.square().mean()


def test_channels_have_unit_variance_and_do_not_go_together(tmp_path, vae):
    """As a transformer sees them: less their mean, by their scale."""
    write("2.2", tmp_path / "vae", tmp_path / "turned", kept=6, batches=1)
    turned = AutoencoderKLWan.from_pretrained(tmp_path / "turned", torch_dtype=torch.float32)
    found, spread = samples(turned, "2.2", batches=1)
    seen = (found - torch.tensor(turned.config.latents_mean)) / torch.tensor(
        turned.config.latents_std
    )

    assert torch.allclose(torch.cov(seen[:, :6].T), torch.eye(6), atol=0.1)
    assert seen[:, 6:].abs().max() == 0
    assert turned.config.latents_std[:6] == sorted(turned.config.latents_std[:6], reverse=True)
    assert spread[:, :6].mean() > 1e-3 > spread[:, 6:].max()
