"""Where denoising starts."""

from __future__ import annotations

import torch
from torch import Tensor

from wan_local.catalog import ModelSpec
from wan_local.geometry import Size
from wan_local.tensors import Latents


def initial_latents(spec: ModelSpec, size: Size, latent_frames: int, *, seed: int) -> Latents:
    """Draw seeded noise for a video of *size* by the model of *spec*, on the CPU."""
    # Drawn on the CPU: CUDA generators differ between cards, and a seed should not.
    generator = torch.Generator("cpu").manual_seed(seed)
    height, width = size.height // spec.stride, size.width // spec.stride
    shape = (1, spec.latent_channels, latent_frames, height, width)
    return torch.randn(shape, generator=generator, dtype=torch.float32)


def noised(clean: Latents, noise: Latents, level: Tensor) -> Latents:
    """Bring *clean* latents to noise *level*, 0 to 1, on the straight line to *noise*.

    The path of flow matching (https://arxiv.org/abs/2210.02747): denoising that starts here, at
    this level, is SDEdit (https://arxiv.org/abs/2108.01073).
    """
    return (1 - level) * clean + level * noise
