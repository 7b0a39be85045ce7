"""Reads a clip back into words, from pixel statistics alone.

The instrument that a trained checkpoint is judged by; no network has a part in it. Foreground is
what is saturated or white, as every background is muted. Colour is the nearest of the palette,
shape the template of largest overlap, motion the slope of place, size and outline over time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from weights.train.clips import COLOURS, SHAPES, signed_distance

GRID = 40
"""Side of the square on which outlines are compared."""
ANGLES = 24
"""Orientations that a template is tried in, over one turn."""
SATURATED = 0.42
"""Difference of the strongest and the weakest channel from which on a pixel is foreground."""
WHITE = 0.72
"""Weakest channel from which on a pixel is foreground, saturated or not."""
FEWEST = 12
"""Pixels of foreground in a frame that shows something."""
MOVED, GREW, TURNED = 0.12, 0.2, 0.25
"""From where on it counts: share of the shorter side, share of the size, share of the outline. The
slowest motion is 0.17 of the shorter side; a VAE's blur takes a little of it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was seen; None where nothing stands out of the background in most frames."""

    colour: str | None
    shape: str | None
    motion: str | None


def read(video: Tensor) -> Reading:
    """Say what *video* shows.

    Args:
        video: [3, frames, height, width], float32 in -1..1.
    """
    rgb = (video.permute(1, 2, 3, 0) + 1) / 2
    masks = foreground(rgb)
    seen = [i for i, mask in enumerate(masks) if float(mask.sum()) >= FEWEST]
    if len(seen) < max(1, len(masks) // 2):
        return Reading(None, None, None)
    masks = masks[seen]
    return Reading(_colour(rgb[seen][masks > 0]), _shape(masks), _motion(masks, torch.tensor(seen)))


def foreground(rgb: Tensor) -> Tensor:
    """Return 1 where [frames, height, width, 3] is saturated or white, and 0 elsewhere."""
    strongest, weakest = rgb.amax(-1), rgb.amin(-1)
    return ((strongest - weakest > SATURATED) | (weakest > WHITE)).float()


def _colour(pixels: Tensor) -> str:
    palette = torch.tensor(list(COLOURS.values()))
    votes = torch.cdist(pixels, palette).argmin(1).bincount(minlength=len(palette))
    return list(COLOURS)[int(votes.argmax())]


def _outline(mask: Tensor) -> Tensor:
    """Return *mask* moved to its centroid and scaled to its extent, [GRID, GRID]."""
    ys, xs = mask.nonzero(as_tuple=True)
    y, x = ys.float().mean(), xs.float().mean()
    # Not the farthest pixel, which may be a stray one.
    extent = float(torch.hypot(ys - y, xs - x).quantile(0.98)) + 0.5
    steps = torch.linspace(-1.15, 1.15, GRID) * extent
    across, down = torch.meshgrid(steps + x, steps + y, indexing="xy")
    height, width = mask.shape
    place = torch.stack([(across + 0.5) / width * 2 - 1, (down + 0.5) / height * 2 - 1], -1)
    return grid_sample(mask[None, None], place[None], align_corners=False)[0, 0]


def _templates() -> Tensor:
    """Return the outline of every shape in every orientation, [shapes, ANGLES, GRID, GRID]."""
    steps = torch.linspace(-1.6, 1.6, 4 * GRID)
    x, y = torch.meshgrid(steps, steps, indexing="xy")
    angles = torch.arange(ANGLES) * (2 * math.pi / ANGLES)
    turned = [signed_distance(shape, x, y, angles, torch.ones(ANGLES)) for shape in SHAPES]
    return torch.stack([torch.stack([_outline((d < 0).float()) for d in row]) for row in turned])


TEMPLATES = _templates()


def _shape(masks: Tensor) -> str:
    some = masks[:: max(1, len(masks) // 6)]
    score = torch.stack([_overlap(_outline(mask)).amax(1) for mask in some]).mean(0)
    return list(SHAPES)[int(score.argmax())]


def _overlap(outline: Tensor) -> Tensor:
    """Return intersection over union with every template, [shapes, ANGLES]."""
    both = torch.minimum(TEMPLATES, outline).sum((-1, -2))
    return both / torch.maximum(TEMPLATES, outline).sum((-1, -2))


def _motion(masks: Tensor, at: Tensor) -> str:
    """Return the motion of *masks*, which are the frames number *at*."""
    if len(masks) < 3:
        return "standing still"
    height, width = masks.shape[1:]
    short = min(height, width)
    area = masks.sum((1, 2))
    time = (at - at[0]) / float(at[-1] - at[0])
    right = _slope((masks.sum(1) * torch.arange(width)).sum(1) / area, time) / short
    down = _slope((masks.sum(2) * torch.arange(height)).sum(1) / area, time) / short
    growth = _slope(area.sqrt(), time) / float(area.sqrt().mean())
    if max(abs(right), abs(down)) > max(MOVED, abs(growth) / 2):
        if abs(right) >= abs(down):
            return "moving right" if right > 0 else "moving left"
        return "moving down" if down > 0 else "moving up"
    if abs(growth) > GREW:
        return "growing" if growth > 0 else "shrinking"
    return "turning" if _turns(masks) else "standing still"


def _slope(values: Tensor, time: Tensor) -> float:
    """Return the change of *values* over the clip, by least squares."""
    late = time - time.mean()
    return float((late * (values - values.mean())).sum() / (late * late).sum())


def _turns(masks: Tensor) -> bool:
    first = _outline(masks[0])
    change = [float((_outline(mask) - first).abs().sum() / first.sum()) for mask in masks[1:]]
    return max(change) > TURNED
