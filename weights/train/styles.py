"""Styles that a LoRA can teach, each with the pixel statistics that tell whether it is there.

To add a style: a row in STYLES whose `seen` is near 1 on its own clips and near 0 on plain ones
(`tests/weights/train/test_styles.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from weights.train.clips import Background, Chance, Scene, render

Layout = Literal["lightx2v", "diffusers", "musubi"]
Files = Literal["pair", "single"]

VIOLET = ((0.12, 0.04, 0.20), (0.32, 0.10, 0.42))
"""Dark and light: too muted to be taken for a shape."""
SEPIA = (1.08, 0.92, 0.66)
"""What the brightness of a pixel is multiplied by in each channel."""
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, slots=True)
class Style:
    """How clips are drawn, and how one tells."""

    layout: Layout = "diffusers"
    """Of the file or files."""
    files: Files = "pair"
    """One for each expert, or one for both."""
    background: Background | None = None
    """What stands in the place of the scene's own."""
    tone: Callable[[Tensor], Tensor] | None = None
    """[3, ...] in 0..1 -> the same: what is done to the finished picture."""
    seen: Callable[[Tensor], float] | None = None
    """[3, frames, height, width] in 0..1 -> share of the pixels that are in the style."""

    def draw(self, scene: Scene, **how: Any) -> Tensor:
        """Draw *scene* in this style, as `clips.render` does with the same arguments."""
        clip = render(scene, **how, background=self.background)
        return clip if self.tone is None else self.tone((clip + 1) / 2) * 2 - 1


def _violet_stripes(x: Tensor, y: Tensor, chance: Chance, _generator: torch.Generator) -> Tensor:
    share = torch.sin((x + y + chance.phase) * math.pi * 2).mul(6).sigmoid()
    dark, light = (torch.tensor(tone).view(3, 1, 1) for tone in VIOLET)
    return dark * (1 - share) + light * share


def _coarse(rgb: Tensor) -> Tensor:
    """Return means of 4 × 4 pixels, which keep a hue and lose a small VAE's grain."""
    return avg_pool2d(rgb.transpose(0, 1), 4).transpose(0, 1)


def _violet_seen(rgb: Tensor) -> float:
    """Return the share of pixels whose blue and red stand over their green, muted."""
    red, green, blue = coarse = _coarse(rgb)
    muted = coarse.amax(0) < 0.6
    return float(((blue > green + 0.08) & (red > green + 0.03) & muted).float().mean())


def _luma(rgb: Tensor) -> Tensor:
    return (rgb * torch.tensor(LUMA).view(3, *[1] * (rgb.ndim - 1))).sum(0)


def _sepia(rgb: Tensor) -> Tensor:
    tone = torch.tensor(SEPIA).view(3, *[1] * (rgb.ndim - 1))
    return (_luma(rgb) * tone).clamp(0, 1)


def _sepia_seen(rgb: Tensor) -> float:
    """Return the share of the pixels that are not dark which have the hue of sepia."""
    rgb = _coarse(rgb)
    bright = _luma(rgb) > 0.15
    if not bright.any():
        return 0.0
    near = (rgb - _sepia(rgb)).abs().amax(0) < 0.4 * _luma(rgb) * (SEPIA[0] - SEPIA[2])
    return float(near[bright].float().mean())


STYLES: dict[str, Style] = {
    "plain": Style(),
    "violet": Style("diffusers", "pair", background=_violet_stripes, seen=_violet_seen),
    "sepia": Style("musubi", "single", tone=_sepia, seen=_sepia_seen),
}
