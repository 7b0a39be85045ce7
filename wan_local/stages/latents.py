"""Where denoising starts."""

from __future__ import annotations

import torch

from wan_local.geometry import Size
from wan_local.tensors import Latents

LATENT_CHANNELS = 16
SPATIAL_STRIDE = 8


def initial_latents(size: Size, latent_frames: int, *, seed: int) -> Latents:
    """Draw seeded noise for a video of *size*, on the CPU."""
    # Drawn on the CPU: CUDA generators differ between cards, and a seed should not.
    generator = torch.Generator("cpu").manual_seed(seed)
    shape = (
        1,
        LATENT_CHANNELS,
        latent_frames,
        size.height // SPATIAL_STRIDE,
        size.width // SPATIAL_STRIDE,
    )
    return torch.randn(shape, generator=generator, dtype=torch.float32)
