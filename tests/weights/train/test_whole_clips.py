"""The VAE over whole clips against diffusers' own, chunk by chunk."""

from __future__ import annotations

import pytest
import torch

from weights.train.autoencoder import LAYOUTS, build
from weights.train.whole_clips import decode, encode


@pytest.fixture(scope="module", params=LAYOUTS)
def vae(request):
    torch.manual_seed(3)
    return build(request.param).eval()


@pytest.mark.parametrize("frames", [1, 5, 9])
@torch.inference_mode()
def test_encoding_is_that_of_diffusers(vae, frames):
    """What is trained must be what is run: causal, the first frame alone, then fours."""
    clips = torch.rand(2, 3, frames, 64, 96) * 2 - 1
    theirs = vae.encode(clips).latent_dist.mode()
    ours = encode(vae, clips)[0]

    assert theirs.shape == ours.shape
    assert (theirs - ours).abs().max() <= 1e-4 * theirs.std()


@pytest.mark.parametrize("frames", [1, 2, 3])
@torch.inference_mode()
def test_decoding_is_that_of_diffusers(vae, frames):
    """The same for the way back, which diffusers clamps."""
    stride = vae.config.scale_factor_spatial
    latents = torch.randn(2, vae.config.z_dim, frames, 64 // stride, 96 // stride)
    theirs = vae.decode(latents).sample
    ours = decode(vae, latents).clamp(-1, 1)

    assert theirs.shape == ours.shape
    assert (theirs - ours).abs().max() <= 1e-4


def test_gradients_reach_every_layer(vae):
    """A layer that the whole-clip path left out would stay random."""
    clips = torch.rand(1, 3, 5, 32, 32) * 2 - 1
    mean, log_variance = encode(vae, clips)
    ((decode(vae, mean) - clips).square().mean() + log_variance.mean()).backward()

    assert [] == [name for name, p in vae.named_parameters() if p.grad is None]
