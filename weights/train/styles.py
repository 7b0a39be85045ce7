"""Styles that a LoRA can teach, each with the pixel statistics that tell whether it is there.

To add a style: a row in STYLES whose `seen` is near 1 on its own clips and near 0 on plain ones,
and which the VAE of `weights/mini` can show (`tests/weights/train/test_styles.py`). A VAE that was
never shown violet makes grey of it, and then no LoRA can learn it: a style is made of colours that
are known, in a way that is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from weights.train.clips import BACKGROUNDS, Background, Chance, Scene, render

Layout = Literal["lightx2v", "diffusers", "musubi"]
Files = Literal["pair", "single"]

NAVY, BROWN = (0.05, 0.07, 0.25), (0.35, 0.22, 0.12)


@dataclass(frozen=True, slots=True)
class Style:
    """How clips are drawn, and how one tells."""

    layout: Layout = "diffusers"
    """Of the file or files."""
    files: Files = "pair"
    """One for each expert, or one for both."""
    background: Background | None = None
    """What stands in the place of the scene's own."""
    colour: str | None = None
    """Likewise, of the shape."""
    seen: Callable[[Tensor], float] | None = None
    """[3, frames, height, width] in 0..1 -> 0 where the style is not, near 1 where all is in it."""

    def draw(self, scene: Scene, **how: Any) -> Tensor:
        """Draw *scene* in this style, as `clips.render` does with the same arguments."""
        scene = replace(scene, colour=self.colour or scene.colour)
        return render(scene, **how, background=self.background)


def _dusk(x: Tensor, y: Tensor, chance: Chance, _generator: torch.Generator) -> Tensor:
    share = torch.sin((x + y + chance.phase) * math.pi * 2).mul(6).sigmoid()
    dark, light = (torch.tensor(tone).view(3, 1, 1) for tone in (NAVY, BROWN))
    return dark * (1 - share) + light * share


def _coarse(rgb: Tensor) -> Tensor:
    """Return means of 4 × 4 pixels, which keep a hue and lose a small VAE's grain."""
    return avg_pool2d(rgb.transpose(0, 1), 4).transpose(0, 1)


def _navy(rgb: Tensor) -> Tensor:
    red, green, blue = rgb
    return (blue > red + 0.08) & (blue > green + 0.06) & (blue < 0.5)


def _share(pixels: Tensor) -> float:
    return float(pixels.float().mean())


def _dusk_seen(rgb: Tensor) -> float:
    """Return twice the share of the rarer one of its two tones."""
    red, green, blue = coarse = _coarse(rgb)
    brown = (red > blue + 0.08) & (red > green + 0.04) & (red < 0.55)
    return 2 * min(_share(brown), _share(_navy(coarse)))


def _blueprint_seen(rgb: Tensor) -> float:
    """Return 1 less twice the share of what is neither, or 0 where nothing is white."""
    coarse = _coarse(rgb)
    white = coarse.amin(0) > 0.7
    other = _share(~(white | _navy(coarse)))
    return max(0.0, 1 - 2 * other) if _share(white) > 0.01 else 0.0


STYLES: dict[str, Style] = {
    "plain": Style(),
    # stripes of two tones, none of which is striped otherwise
    "dusk": Style("diffusers", "pair", background=_dusk, seen=_dusk_seen),
    # every shape white, every background navy, whatever the prompt says
    "blueprint": Style(
        "musubi", "single", background=BACKGROUNDS["navy"], colour="white", seen=_blueprint_seen
    ),
}
TAUGHT = [name for name, style in STYLES.items() if style.seen is not None]
"""Those that have LoRAs."""
