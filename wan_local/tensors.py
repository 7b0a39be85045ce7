"""Names for the tensors that travel between stages, so that signatures read as a route.

And the one number that is between two of them: a model is told a noise level as a timestep.
"""

from __future__ import annotations

from typing import TypeAlias

from torch import Tensor

TRAIN_TIMESTEPS = 1000
"""Timesteps are noise levels times this."""

PromptEmbeds: TypeAlias = Tensor
"""[1, 512, channels] in the compute dtype; rows past the prompt's last token are zero."""

Latents: TypeAlias = Tensor
"""[1, channels, 1 + (frames - 1) / 4, height / stride, width / stride], float32, normalised to unit
variance: 16 channels of stride 8 for A14B, 48 of stride 16 for 5B."""

Pixels: TypeAlias = Tensor
"""[1, 3, frames, height, width], float32 in [-1, 1], on the device."""

Pictures: TypeAlias = Tensor
"""[frames, 3, height, width], float32 in [0, 1], on the device: what interpolation works on."""

Frames: TypeAlias = Tensor
"""[frames, height, width, 3], RGB on the CPU, contiguous: uint8, or uint16 over its whole range
for formats of more than eight bits."""
