"""Training of the small VAEs."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLWan

from weights.train import autoencoder
from weights.train.autoencoder import LARGE, SIZES, batch, build, train_decoder


def test_a_decoder_learns_alone(tmp_path, monkeypatch):
    """Latents of the finished VAE stay right: nothing before them has changed."""
    monkeypatch.setitem(autoencoder.SIZES_IN_USE, "2.1", ((16, 32),))
    build("2.1").half().save_pretrained(tmp_path / "finished")

    train_decoder("2.1", tmp_path / "finished", tmp_path / "out", minutes=0.02)
    before, after = (
        dict(AutoencoderKLWan.from_pretrained(tmp_path / name).named_parameters())
        for name in ("finished", "out")
    )

    for name, weight in before.items():
        if name.startswith(("encoder.", "quant_conv.")):
            assert torch.equal(weight, after[name]), name
    assert not torch.equal(before["decoder.conv_out.weight"], after["decoder.conv_out.weight"])


def test_large_clips_come_one_at_a_time():
    """A picture's worth of memory each; small ones and pictures come together."""
    generator = torch.Generator().manual_seed(0)
    small, large = [(64, 96)], [(160, 288)]

    assert large[0] in SIZES["2.2"]
    assert large[0][0] * large[0][1] > LARGE
    assert (2, 3, 9, 64, 96) == batch(small, generator, clips=2, frames=9).shape
    assert (1, 3, 9, 160, 288) == batch(large, generator, clips=2, frames=9).shape
    assert (8, 3, 1, 160, 288) == batch(large, generator, clips=8, frames=1).shape
