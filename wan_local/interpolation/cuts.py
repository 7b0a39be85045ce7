"""Where one scene ends and another begins: a pair between which nothing can be interpolated."""

from __future__ import annotations

from collections import deque
from statistics import median

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

HEIGHT, WIDTH = 48, 80
"""Frames are compared at this size, whatever their aspect."""
REACH = 4
"""Pixels of the small frame that a block is looked for around its place."""
BLOCK = 8
BINS = 16

# Of 1,511 pairs within 21 clips of Wan and its relatives none passes all three tests, and of 420
# joints between two of them all do. The hardest joints are of videos made from the same picture.
CHANGED = 0.04
"""Mean difference, of levels in 0 to 1, that is left when every block has been looked for."""
RECOLOURED = 0.11
"""Share of the pixels whose brightness, by channel, is in another of the bins."""
SUDDEN = 2.5
"""Times the usual difference of this scene."""
REMEMBERED = 8
"""Pairs that the usual difference is the median of."""


class CutDetector:
    """Looks at one pair after the other, and knows what is usual in this scene."""

    def __init__(self) -> None:
        self._differences: deque[float] = deque(maxlen=REMEMBERED)

    def is_cut(self, first: Tensor, second: Tensor) -> bool:
        """Whether a new scene begins with *second*; both are `shrunk`."""
        difference = unmatched(first, second)
        cut = (
            difference > CHANGED
            and (not self._differences or difference > SUDDEN * median(self._differences))
            and recoloured(first, second) > RECOLOURED
        )
        if cut:
            self._differences.clear()
        else:
            self._differences.append(difference)
        return cut


def shrunk(frame: Tensor) -> Tensor:
    """Return [1, 3, height, width] as [3, HEIGHT, WIDTH]."""
    return interpolate(frame.float(), size=(HEIGHT, WIDTH), mode="area")[0]


def unmatched(first: Tensor, second: Tensor) -> float:
    """Return the mean difference of the blocks of *first* from where they fit best in *second*.

    Motion does not count, so that a fast pan is no cut.
    """
    around = pad(second, (REACH,) * 4, mode="replicate")
    moved = around.unfold(1, HEIGHT, 1).unfold(2, WIDTH, 1)  # [3, dy, dx, HEIGHT, WIDTH]
    difference = (moved - first[:, None, None]).abs().mean(0).flatten(0, 1)
    return float(avg_pool2d(difference[:, None], BLOCK).amin(0).mean())


def recoloured(first: Tensor, second: Tensor) -> float:
    """Return the share of the pixels that would have to change for equal histograms."""
    return float((_histograms(first) - _histograms(second)).abs().sum()) / 6


def _histograms(frame: Tensor) -> Tensor:
    """Return [3, BINS], each row a distribution."""
    bins = (frame * BINS).long().clamp(0, BINS - 1).flatten(1)
    counts = torch.zeros(3, BINS, device=frame.device)
    return counts.scatter_add_(1, bins, torch.ones_like(bins, dtype=torch.float32)) / bins.shape[1]
