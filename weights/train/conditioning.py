"""What a model in training is shown beside the noise: nothing, or pictures in one of two ways.

The same as the engine does (`wan_local/stages/condition.py`); `tests/weights/train` holds the two
against one another. To add a way: a row in WAYS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from wan_local.catalog import MODELS, Kind
from wan_local.geometry import PATCH, TEMPORAL_STRIDE

BOUNDARIES: dict[Kind, float] = {
    spec.kind: spec.boundary for spec in MODELS.values() if spec.boundary is not None
}
"""Noise level of the change of experts, by task; a model of one expert has none."""
PICTURED = 0.3
"""Share of a 5B model's batches that begin with a clean picture."""
LAST = 0.35
"""Share of clips whose last frame is shown beside the first."""
KNOWN = 4.0
"""How many times as much an error counts in the latent frames whose picture is shown."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Clips of one shape, as they are drawn from a corpus."""

    latents: Tensor
    """[clips, channels, frames, height, width]."""
    condition: Tensor | None = None
    """[clips, 20, frames, height, width]; None where a model takes in latents alone."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a model takes in, and which frames of what it says are its own work."""

    latents: Tensor
    """[clips, channels in, frames, height, width]."""
    sigma: Tensor
    """Noise levels, [clips] or [clips, tokens]."""
    given: int = 0
    """Latent frames at the start that are known and not learned."""
    weight: Tensor | float = 1.0
    """How much each error counts, [clips, 1, frames, 1, 1] or one for all."""


def _words_alone(noisy: Tensor, sigma: Tensor, _batch: Batch, _generator: torch.Generator) -> Shown:
    return Shown(noisy, sigma)


def _beside_the_noise(
    noisy: Tensor, sigma: Tensor, batch: Batch, _generator: torch.Generator
) -> Shown:
    assert batch.condition is not None  # its corpus has one
    # Of the four frames of a latent one the last is marked where any is: the first stands alone.
    known = batch.condition[:, TEMPORAL_STRIDE - 1 : TEMPORAL_STRIDE, :, :1, :1]
    return Shown(torch.cat([noisy, batch.condition], 1), sigma, weight=1 + (KNOWN - 1) * known)


def _in_the_first_frame(
    noisy: Tensor, sigma: Tensor, batch: Batch, generator: torch.Generator
) -> Shown:
    if noisy.shape[2] == 1 or float(torch.rand((), generator=generator)) >= PICTURED:
        return Shown(noisy, sigma)
    return with_picture(noisy, sigma, batch.latents)


def with_picture(noisy: Tensor, sigma: Tensor, latents: Tensor) -> Shown:
    """Put the first frame of *latents* in place, its tokens at noise level 0.

    The VAE is causal: a clip's first latent frame is that of its first picture alone.
    """
    frames, height, width = noisy.shape[2:]
    tokens = (height // PATCH) * (width // PATCH)
    levels = sigma[:, None].repeat(1, frames * tokens)
    levels[:, :tokens] = 0
    return Shown(torch.cat([latents[:, :, :1], noisy[:, :, 1:]], 2), levels, given=1)


WAYS: dict[Kind, Callable[[Tensor, Tensor, Batch, torch.Generator], Shown]] = {
    # task -> (noisy latents, noise levels [clips], batch, chance) -> what the model takes in
    "t2v": _words_alone,
    "i2v": _beside_the_noise,
    "ti2v": _in_the_first_frame,
}


def known_pixels(clip: Tensor, *, last: bool) -> Tensor:
    """Return *clip* with nothing left of it but the first frame, or the first and the *last*.

    Args:
        clip: [3, frames, height, width] in -1..1; what is not known becomes 0, a grey.
        last: Whether the last frame is known.
    """
    known = torch.zeros_like(clip)
    known[:, 0] = clip[:, 0]
    if last:
        known[:, -1] = clip[:, -1]
    return known


def condition(pictures: Tensor, last: Tensor) -> Tensor:
    """Return the channels that stand beside the noise: what is known (4), and how it looks (16).

    Args:
        pictures: Latents of `known_pixels`, [clips, 16, frames, height, width].
        last: [clips], whether the last frame is known; the first always is.
    """
    clips, _, frames, height, width = pictures.shape
    known = torch.zeros(clips, TEMPORAL_STRIDE * frames)
    known[:, :TEMPORAL_STRIDE] = 1
    known[last.bool(), -1] = 1
    mask = known.view(clips, frames, TEMPORAL_STRIDE, 1, 1).transpose(1, 2)
    return torch.cat([mask.expand(-1, -1, -1, height, width), pictures], 1)
