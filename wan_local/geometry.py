"""Pure arithmetic of pictures and time: sizes, frame counts, frame rates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from wan_local.errors import InvalidPlan

Resolution = Literal["480p", "580p", "720p"]
AspectRatio = Literal["16:9", "9:16", "1:1"]

PATCH = 2
"""Latents a side that the transformers take in at once."""
PATCHED_STRIDE = 8 * PATCH
"""Pixels a side must be a multiple of, at least: the finer VAE's 8 times the patch."""
TEMPORAL_STRIDE = 4
"""Frames that one latent frame stands for, after the first."""


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height of a picture in pixels."""

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0:
            msg = f"a size must be positive, got {self}"
            raise InvalidPlan(msg)

    def __str__(self) -> str:
        return f"{self.width}×{self.height}"


MAX_ASPECT = 3.0
"""Longer side over shorter, at most, of a size made after a picture; the rest is cropped away."""

# 720p and 480p are the sizes Wan 2.2 A14B was trained on (1280×720, 832×480). 580p lies between
# them on the grid of 16. On the 5B model's grid of 32, 720p is Wan's own 1280×704.
_WIDE: dict[Resolution, Size] = {
    "480p": Size(832, 480),
    "580p": Size(1024, 576),
    "720p": Size(1280, 720),
}


def size_for(resolution: Resolution, aspect_ratio: AspectRatio, grid: int = PATCHED_STRIDE) -> Size:
    """Return the size that a model whose sides lie on *grid* generates."""
    wide = _wide(resolution, grid)
    if aspect_ratio == "1:1":
        return size_like(resolution, 1, 1, grid)
    return wide if aspect_ratio == "16:9" else Size(wide.height, wide.width)


def size_like(resolution: Resolution, width: int, height: int, grid: int) -> Size:
    """Return the size of *resolution* in the shape of a picture of *width* by *height*.

    The number of tokens, and so the time and the memory, is the resolution's and not the shape's.
    """
    wide = _wide(resolution, grid)
    return size_within(wide.width * wide.height, width, height, grid)


def size_within(area: int, width: int, height: int, grid: int) -> Size:
    """Return the size on *grid* in the shape of *width* by *height* and of at most *area* pixels.

    The shorter side is rounded to the grid, and the longer one to the nearest that keeps to the
    area; a 16:9 picture gives a resolution's own 16:9 size. Shapes longer than `MAX_ASPECT` are
    taken as that long: no Wan model has seen longer ones.
    """
    aspect = min(max(width, height) / min(width, height), MAX_ASPECT)
    ideal = math.sqrt(area / aspect)
    shorter = min(round_to(ideal, grid), math.isqrt(area) // grid * grid)
    longer = min(round_to(ideal * aspect, grid), area // shorter // grid * grid)
    if width == height:
        return Size(shorter, shorter)
    return Size(longer, shorter) if width > height else Size(shorter, longer)


def round_to(side: float, grid: int) -> int:
    """Return the multiple of *grid* nearest to *side*, but never nothing; a half goes up."""
    return max(1, math.floor(side / grid + 0.5)) * grid


def _wide(resolution: Resolution, grid: int) -> Size:
    size = _WIDE[resolution]
    return Size(size.width // grid * grid, size.height // grid * grid)


def latent_frames(num_frames: int) -> int:
    """Return how many latent frames hold *num_frames* frames.

    The causal VAE makes 1 frame from the first latent frame and 4 from each later one, so counts
    that are not 4k+1 are rounded up here and the surplus is cut off after decoding: a client that
    asks for 80 frames gets 80.
    """
    return 1 + -(-(num_frames - 1) // TEMPORAL_STRIDE)


def generated_frames(num_frames: int) -> int:
    """Return how many frames the VAE makes of the latent frames that hold *num_frames*."""
    return 1 + (latent_frames(num_frames) - 1) * TEMPORAL_STRIDE


def interpolated_frames(num_frames: int, frames_between: int) -> int:
    """Return the number of frames once *frames_between* new ones stand between each pair."""
    return (num_frames - 1) * (frames_between + 1) + 1
