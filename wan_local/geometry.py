"""Pure arithmetic of pictures and time: sizes, frame counts, frame rates."""

from __future__ import annotations

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


# 720p and 480p are the sizes Wan 2.2 A14B was trained on (1280×720, 832×480). 580p lies between
# them on the grid of 16. The squares keep the area of the wide form, as Wan's own size table does:
# the number of tokens, and so the time and the memory, is the resolution's and not the aspect's.
_SIZES: dict[Resolution, tuple[Size, Size]] = {
    # resolution: (16:9, 1:1)
    "480p": (Size(832, 480), Size(624, 624)),
    "580p": (Size(1024, 576), Size(768, 768)),
    "720p": (Size(1280, 720), Size(960, 960)),
}


def size_for(resolution: Resolution, aspect_ratio: AspectRatio) -> Size:
    """Return the size that Wan 2.2 A14B generates for *resolution* at *aspect_ratio*."""
    wide, square = _SIZES[resolution]
    if aspect_ratio == "1:1":
        return square
    return wide if aspect_ratio == "16:9" else Size(wide.height, wide.width)


def latent_frames(num_frames: int) -> int:
    """Return how many latent frames hold *num_frames* frames.

    The causal VAE makes 1 frame from the first latent frame and 4 from each later one, so counts
    that are not 4k+1 are rounded up here and the surplus is cut off after decoding: a client that
    asks for 80 frames gets 80.
    """
    return 1 + -(-(num_frames - 1) // TEMPORAL_STRIDE)


def interpolated_frames(num_frames: int, frames_between: int) -> int:
    """Return the number of frames once *frames_between* new ones stand between each pair."""
    return (num_frames - 1) * (frames_between + 1) + 1
