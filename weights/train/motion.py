"""Synthetic motion with its true flow: what interpolators are trained on.

Layers of procedural texture move, each along straight lines: what a point passes between the two
frames is known for every pixel, with occlusions, at any time between. No picture of anybody's is
used. Textures are of the dead-leaves kind:
overlapping shapes of all sizes, which have the edges and the spectrum of photographs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from weights.train.clips import SHAPES, signed_distance

TEXTURE = 192
"""Side of a texture in pixels."""
LAYERS = 3
"""The background and two that may cover it."""
BLOB = 64
"""Side of the picture that a layer's outline is kept in."""


@dataclass(frozen=True, slots=True)
class Triplet:
    """Two frames, the one between them, and how far everything moves."""

    first: Tensor
    """[n, 3, size, size], 0 to 1."""
    middle: Tensor
    second: Tensor
    time: Tensor
    """[n, 1, 1, 1]: when the middle one is."""
    velocity: tuple[Tensor, Tensor, Tensor]
    """[n, 2, size, size] each: pixels from the first frame's time to the second's, of what is
    seen at each pixel of the first, the middle and the second frame."""


@dataclass(frozen=True, slots=True)
class Difficulty:
    """How hard the motion is; grows with training."""

    shift: float
    """Largest way of a layer in pixels."""
    warp: float
    """Standard deviation of the linear map's change: turning, growing, shearing."""
    calm: float = 0.0
    """Share of the scenes in which everything is slower, often nearly still."""


def textures(count: int, generator: torch.Generator) -> Tensor:
    """Draw *count* textures, [count, 3, TEXTURE, TEXTURE], 0 to 1."""
    return torch.stack([_texture(generator) for _ in range(count)])


def triplets(
    bank: Tensor,
    count: int,
    size: int,
    difficulty: Difficulty,
    generator: torch.Generator,
    *,
    halfway: bool = False,
) -> Triplet:
    """Draw *count* scenes of *size* pixels out of the textures in *bank*.

    With *halfway* all middle frames are at 0.5; otherwise some are elsewhere.
    """
    time = _times(count, generator) if not halfway else torch.full((count,), 0.5)
    moments = [torch.zeros(count), time, torch.ones(count)]
    pace = _paces(count, difficulty.calm, generator)
    frames: list[Tensor] = []
    velocities: list[Tensor] = []
    for index in range(LAYERS):
        layer = _layer(bank, count, size, difficulty, generator, background=index == 0)
        layer = replace(
            layer, shift=layer.shift * pace[:, None], warp=layer.warp * pace[:, None, None]
        )
        for place, moment in enumerate(moments):
            picture, velocity, cover = layer.at(moment, size)
            if index == 0:
                frames.append(picture)
                velocities.append(velocity)
                continue
            frames[place] = frames[place] * (1 - cover) + picture * cover
            velocities[place] = torch.where(cover > 0.5, velocity, velocities[place])
    gain = 0.7 + 0.3 * torch.rand(count, 1, 1, 1, generator=generator)
    first, middle, second = (frame * gain for frame in frames)
    velocity = (velocities[0], velocities[1], velocities[2])
    return Triplet(first, middle, second, time.view(-1, 1, 1, 1), velocity)


@dataclass(frozen=True, slots=True)
class _Layer:
    texture: Tensor
    """[n, 3, TEXTURE, TEXTURE]"""
    centre: Tensor
    """[n, 2]: the texture's point that is in the middle of the picture half-way."""
    shift: Tensor
    """[n, 2]: pixels from the first to the second frame."""
    warp: Tensor
    """[n, 2, 2]: what the linear map gains from the first to the second frame."""
    outline: Tensor | None
    """[n, 1, BLOB, BLOB], 0 to 1; None covers everything."""
    reach: Tensor
    """[n]: texture pixels that one pixel of the outline stands for."""

    def at(self, moment: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return picture, velocity and cover at *moment*, [n]."""
        lapse = (moment - 0.5)[:, None]
        middle = (size - 1) / 2
        place = torch.stack(torch.meshgrid(*[torch.arange(size) - middle] * 2, indexing="xy"), -1)
        moved = place[None] - (lapse * self.shift)[:, None, None]
        matrix = torch.eye(2) + lapse[..., None] * self.warp
        point = moved @ torch.linalg.inv(matrix).transpose(1, 2)[:, None]
        velocity = self.shift[:, None, None] + point @ self.warp.transpose(1, 2)[:, None]
        source = point + self.centre[:, None, None]
        picture = _read(self.texture, source, "reflection")
        if self.outline is None:
            cover = torch.ones(())
        else:
            inside = point / self.reach[:, None, None, None] + (BLOB - 1) / 2
            cover = _read(self.outline, inside, "zeros")
        return picture, velocity.permute(0, 3, 1, 2), cover


def _layer(
    bank: Tensor,
    count: int,
    size: int,
    difficulty: Difficulty,
    generator: torch.Generator,
    *,
    background: bool,
) -> _Layer:
    chosen = torch.randint(len(bank), (count,), generator=generator)
    angle = 2 * torch.pi * torch.rand(count, generator=generator)
    # The background goes half as far as what is before it; both are often slow.
    length = torch.rand(count, generator=generator) ** 1.5 * difficulty.shift
    length = length * (0.6 if background else 1.0)
    shift = length[:, None] * torch.stack((angle.cos(), angle.sin()), -1)
    warp = difficulty.warp * torch.randn(count, 2, 2, generator=generator)
    centre = TEXTURE * (0.3 + 0.4 * torch.rand(count, 2, generator=generator))
    reach = size / BLOB * (0.5 + 0.8 * torch.rand(count, generator=generator))
    if background:
        return _Layer(bank[chosen], centre, shift, warp, None, reach)
    # An outline that leaves the middle lets the layer stand anywhere.
    present = (torch.rand(count, 1, 1, 1, generator=generator) < 0.7).float()
    return _Layer(bank[chosen], centre, shift, warp, _outlines(count, generator) * present, reach)


def _outlines(count: int, generator: torch.Generator) -> Tensor:
    """Draw soft-edged shapes that do not touch the border, [count, 1, BLOB, BLOB]."""
    waves = torch.randn(count, 1, 5, 5, generator=generator)
    waves = interpolate(waves, size=(BLOB, BLOB), mode="bicubic")
    off = 0.5 * torch.randn(count, 2, 1, 1, generator=generator).clamp(-1, 1)
    steps = torch.linspace(-1, 1, BLOB)
    x, y = torch.meshgrid(steps, steps, indexing="xy")
    far = (x - off[:, :1]) ** 2 + (y - off[:, 1:]) ** 2
    rim = (1 - torch.maximum(x.abs(), y.abs())) * 12
    return torch.sigmoid((waves + 1.2 - 3 * far) * 14) * rim.clamp(0, 1)


def _paces(count: int, calm: float, generator: torch.Generator) -> Tensor:
    if not calm:
        return torch.ones(count)
    chosen = torch.rand(count, generator=generator) < calm
    slower = torch.rand(count, generator=generator) ** 4
    return torch.where(chosen, slower, torch.ones(count))


def _times(count: int, generator: torch.Generator) -> Tensor:
    often = torch.tensor([0.5, 0.5, 0.5, 0.25, 0.75, 0.2, 0.4, 0.6, 0.8, 1 / 3, 2 / 3])
    return often[torch.randint(len(often), (count,), generator=generator)]


def _read(picture: Tensor, place: Tensor, padding: str) -> Tensor:
    # Bilinear: bicubic took twice as long, and textures are soft enough not to show it.
    grid = (2 * place + 1) / picture.shape[-1] - 1
    return grid_sample(picture, grid, mode="bilinear", padding_mode=padding, align_corners=False)


# ── textures ─────────────────────────────────────────────────────────────────────────────────────


def _texture(generator: torch.Generator) -> Tensor:
    picture = _coloured(_fractal(generator), generator)
    steps = torch.linspace(-1, 1, TEXTURE)
    x, y = torch.meshgrid(steps, steps, indexing="xy")
    names = list(SHAPES)
    leaves = int(torch.randint(8, 70, (), generator=generator))
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
        cover = (0.5 - distance * TEXTURE / 2 / 1.5).clamp(0, 1)
        tint = torch.rand(3, 1, 1, generator=generator)
        leaf = tint + 0.6 * chance[6] * (grain[int(chance[7] * 3)][:, rows, columns] - 0.5)
        picture[:, rows, columns] = picture[:, rows, columns] * (1 - cover) + leaf * cover
    return _softened(picture, generator).clamp(0, 1)


def _span(centre: float, radius: float) -> slice:
    start, stop = ((edge + 1) / 2 * TEXTURE for edge in (centre - radius, centre + radius))
    return slice(max(0, int(start)), min(TEXTURE, int(stop) + 2))


def _fractal(generator: torch.Generator) -> Tensor:
    """Noise of all octaves, [1, TEXTURE, TEXTURE], about -1 to 1."""
    roughness = 0.35 + 0.5 * float(torch.rand((), generator=generator))
    total, weight = torch.zeros(1, TEXTURE, TEXTURE), 1.0
    for cells in (3, 6, 12, 24, 48, 96):
        noise = torch.randn(1, 1, cells, cells, generator=generator)
        total += weight * interpolate(noise, size=(TEXTURE, TEXTURE), mode="bicubic")[0]
        weight *= roughness
    return total / 2


def _coloured(noise: Tensor, generator: torch.Generator) -> Tensor:
    """Mix two colours by *noise*, [3, TEXTURE, TEXTURE]."""
    dark, light = torch.rand(2, 3, 1, 1, generator=generator)
    share = torch.sigmoid(noise * (1 + 3 * float(torch.rand((), generator=generator))))
    return dark * (1 - share) + light * share


def _softened(picture: Tensor, generator: torch.Generator) -> Tensor:
    """Blur it a little, as lenses, decoders and codecs do."""
    width = 0.5 + float(torch.rand((), generator=generator))
    taps = torch.exp(-(torch.tensor([2.0, 1.0, 0.0, 1.0, 2.0]) ** 2) / (2 * width**2))
    kernel = (taps[:, None] * taps) / taps.sum() ** 2
    padded = torch.nn.functional.pad(picture[:, None], (2, 2, 2, 2), mode="reflect")
    return torch.nn.functional.conv2d(padded, kernel[None, None])[:, 0]
