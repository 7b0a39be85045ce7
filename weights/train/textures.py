"""Procedural textures that synthetic motion is drawn from.

Of the dead-leaves kind: overlapping shapes of all sizes over noise of all octaves, which have the
edges and the spectrum of photographs. No picture of anybody's is used.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from weights.train.clips import SHAPES, signed_distance

TEXTURE = 192
"""Side of a texture in pixels of the frames that are cut from it."""
DENSITY = 2
"""Texels to a pixel, each way. With one, reading between texels blurs a frame more than its
neighbours, by how far it has moved: a network then learns about the reading."""
SIDE = TEXTURE * DENSITY
RENEWAL = 16
"""Steps after which one texture of a bank is drawn anew."""


Blur = tuple[float, float]
"""The least and the greatest of a set of textures, pixels of standard deviation."""
SOFT: Blur = (0.4, 1.0)
SHARP: Blur = (0.1, 0.8)
"""Mean square of the second differences along x over that of the first: 0.45 to 1.4 of frames from
these, 0.4 to 0.85 of those from soft ones, and 0.8 to 1.4 of 19 of 20 clips of Wan and its
relatives, of whose first frames, shrunk to 256 pixels, it was measured."""


def textures(count: int, generator: torch.Generator, blur: Blur = SOFT) -> Tensor:
    """Draw *count* textures, [count, 3, SIDE, SIDE], 0 to 1."""
    return torch.stack([_texture(generator, blur) for _ in range(count)])


class Bank:
    """Textures that change slowly; a seed and a step decide what they are, and nothing else."""

    def __init__(self, size: int, seed: int, blur: Blur = SOFT) -> None:
        self._seed, self._blur = seed, blur
        self._numbers = [-1] * size
        self._textures = torch.zeros(size, 3, SIDE, SIDE)

    def at(self, step: int) -> Tensor:
        """Return the textures of *step*, [size, 3, SIDE, SIDE]."""
        size = len(self._numbers)
        newest = size - 1 + step // RENEWAL
        for number in range(newest - size + 1, newest + 1):
            slot = number % size
            if self._numbers[slot] != number:
                generator = torch.Generator().manual_seed(self._seed * 1_000_003 + number)
                self._textures[slot] = textures(1, generator, self._blur)[0]
                self._numbers[slot] = number
        return self._textures


def _texture(generator: torch.Generator, blur: Blur) -> Tensor:
    picture = _coloured(_fractal(generator), generator)
    steps = torch.linspace(-1, 1, SIDE)
    x, y = torch.meshgrid(steps, steps, indexing="xy")
    names = list(SHAPES)
    leaves = int(torch.randint(12, 100, (), generator=generator))
    grain = [_coloured(_fractal(generator), generator) for _ in range(3)]
    for _ in range(leaves):
        chance = torch.rand(8, generator=generator).tolist()
        # Sizes by a power law: as many octaves of shapes as the picture has.
        radius = 0.04 * (0.7 / 0.04) ** (chance[0] ** 1.6)
        left, top = 2.2 * chance[1] - 1.1, 2.2 * chance[2] - 1.1
        columns = _span(left, 1.6 * radius)
        rows = _span(top, 1.6 * radius)
        if columns.start >= columns.stop or rows.start >= rows.stop:
            continue
        shape = names[int(chance[3] * len(names))]
        distance = signed_distance(
            shape,
            (x[rows, columns] - left)[None],
            (y[rows, columns] - top)[None] * (0.6 + 0.8 * chance[4]),
            torch.tensor([6.3 * chance[5]]),
            torch.tensor([radius]),
        )
        cover = (0.5 - distance * SIDE / 2 / 1.5).clamp(0, 1)
        tint = torch.rand(3, 1, 1, generator=generator)
        leaf = tint + 0.6 * chance[6] * (grain[int(chance[7] * 3)][:, rows, columns] - 0.5)
        picture[:, rows, columns] = picture[:, rows, columns] * (1 - cover) + leaf * cover
    return _softened(picture, blur, generator).clamp(0, 1)


def _span(centre: float, radius: float) -> slice:
    start, stop = ((edge + 1) / 2 * SIDE for edge in (centre - radius, centre + radius))
    return slice(max(0, int(start)), min(SIDE, int(stop) + 2))


def _fractal(generator: torch.Generator) -> Tensor:
    """Noise of all octaves, [1, SIDE, SIDE], about -1 to 1."""
    roughness = 0.45 + 0.5 * float(torch.rand((), generator=generator))
    total, weight = torch.zeros(1, SIDE, SIDE), 1.0
    for cells in (3, 6, 12, 24, 48, 96, 192):
        noise = torch.randn(1, 1, cells, cells, generator=generator)
        total += weight * interpolate(noise, size=(SIDE, SIDE), mode="bilinear")[0]
        weight *= roughness
    return total / 2


def _coloured(noise: Tensor, generator: torch.Generator) -> Tensor:
    """Mix two colours by *noise*, [3, SIDE, SIDE]."""
    dark, light = torch.rand(2, 3, 1, 1, generator=generator)
    share = torch.sigmoid(noise * (1 + 3 * float(torch.rand((), generator=generator))))
    return dark * (1 - share) + light * share


def _softened(picture: Tensor, blur: Blur, generator: torch.Generator) -> Tensor:
    """Blur it, as lenses, decoders and codecs do."""
    least, greatest = blur
    width = DENSITY * (least + (greatest - least) * float(torch.rand((), generator=generator)))
    taps = torch.exp(-(torch.arange(-5.0, 6.0) ** 2) / (2 * width**2))
    taps /= taps.sum()
    padded = pad(picture[:, None], (5, 5, 5, 5), mode="reflect")
    return conv2d(conv2d(padded, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1))[:, 0]
