"""Synthetic motion with its true flow: what interpolators are trained on.

Layers of procedural texture move, turn, grow and bend, each along straight lines: what a point
passes between the two frames is known for every pixel, with occlusions, at any time between. As in
real video much stands still, the light changes, and no two frames have the same noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate

from weights.train.textures import DENSITY, TEXTURE

Kind = Literal["background", "large", "small"]
"""Of layers; the others cover the background."""
BLOB = 64
"""Side of the picture that a layer's outline is kept in."""
QUIET, LOUD = 4e-4, 8e-3
"""Standard deviation of a frame's noise: clips of Wan, shrunk to 256 pixels, lie between."""


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
    bend: float = 0.0
    """Standard deviation of the way of single places, pixels."""
    calm: float = 0.0
    """Share of the layers that are slower, often nearly still, and of the scenes that are."""
    disturbed: float = 0.0
    """Share of the scenes whose light changes, and of those with noise."""
    parts: int = 0
    """Small layers, anywhere in the picture, before the large one in its midst."""
    fading: float = 0.0
    """Share of the layers that turn into another picture, as in a dissolve: of what they show in
    one frame the other has less, and no flow leads there."""


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
    whole_pace = _paces(count, difficulty.calm, generator)
    frames: list[Tensor] = []
    velocities: list[Tensor] = []
    kinds: list[Kind] = ["background", "large", *["small"] * difficulty.parts]
    for index, kind in enumerate(kinds):
        layer = _layer(bank, count, size, difficulty, generator, kind)
        pace = _paces(count, difficulty.calm, generator)
        # What is small may be quick where all else stands still, as a hand is.
        layer = layer.slowed(pace if kind == "small" else whole_pace * pace)
        for place, moment in enumerate(moments):
            picture, velocity, cover = layer.at(moment, size)
            if index == 0:
                frames.append(picture)
                velocities.append(velocity)
                continue
            frames[place] = frames[place] * (1 - cover) + picture * cover
            velocities[place] = torch.where(cover > 0.5, velocity, velocities[place])
    lit = _lit(frames, moments, difficulty.disturbed, generator)
    first, middle, second = _noisy(lit, difficulty.disturbed, generator)
    velocity = (velocities[0], velocities[1], velocities[2])
    return Triplet(first, middle, second, time.view(-1, 1, 1, 1), velocity)


@dataclass(frozen=True, slots=True)
class _Layer:
    textures: list[Tensor]
    """[3, SIDE, SIDE] each, one a scene."""
    centre: Tensor
    """[n, 2]: the texture's point, in pixels, that is in the middle of the picture half-way."""
    shift: Tensor
    """[n, 2]: pixels from the first to the second frame."""
    warp: Tensor
    """[n, 2, 2]: what the linear map gains from the first to the second frame."""
    bend: Tensor
    """[n, size, size, 2]: the way of single places, pixels from the first to the second frame."""
    outline: Tensor | None
    """[n, 1, BLOB, BLOB], 0 to 1; None covers everything."""
    reach: Tensor
    """[n]: texture pixels that one pixel of the outline stands for."""
    place: Tensor
    """[n, 2]: where its outline's middle is half-way, pixels from the picture's middle."""
    fade: list[tuple[Tensor, float] | None]
    """What a scene's texture turns into, and how much of it from the first to the second frame."""

    def slowed(self, pace: Tensor) -> _Layer:
        """Return the layer with its motion times *pace*, [n]."""
        return replace(
            self,
            shift=self.shift * pace[:, None],
            warp=self.warp * pace[:, None, None],
            bend=self.bend * pace[:, None, None, None],
        )

    def at(self, moment: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return picture, velocity and cover at *moment*, [n]."""
        lapse = (moment - 0.5)[:, None]
        middle = (size - 1) / 2
        place = torch.stack(torch.meshgrid(*[torch.arange(size) - middle] * 2, indexing="xy"), -1)
        way = self.shift[:, None, None] + self.bend
        moved = place[None] - lapse[:, None, None] * way
        matrix = torch.eye(2) + lapse[..., None] * self.warp
        point = moved @ torch.linalg.inv(matrix).transpose(1, 2)[:, None]
        velocity = way + point @ self.warp.transpose(1, 2)[:, None]
        source = (point + self.centre[:, None, None]) * DENSITY
        # One by one: the chosen textures would be copied before they are read.
        read = [self._read(scene, at[None], float(lapse[scene])) for scene, at in enumerate(source)]
        if self.outline is None:
            cover = torch.ones(())
        else:
            away = point - self.place[:, None, None]
            inside = away / self.reach[:, None, None, None] + (BLOB - 1) / 2
            cover = _read(self.outline, inside, "zeros")
        return torch.cat(read), velocity.permute(0, 3, 1, 2), cover

    def _read(self, scene: int, places: Tensor, lapse: float) -> Tensor:
        picture, fade = _read(self.textures[scene][None], places, "reflection"), self.fade[scene]
        if fade is None:
            return picture
        other, amount = fade
        return picture.lerp(_read(other[None], places, "reflection"), 0.5 + amount * lapse)


def _layer(
    bank: Tensor,
    count: int,
    size: int,
    difficulty: Difficulty,
    generator: torch.Generator,
    kind: Kind,
) -> _Layer:
    chosen = torch.randint(len(bank), (count,), generator=generator).tolist()
    angle = 2 * torch.pi * torch.rand(count, generator=generator)
    # The background goes half as far as what is before it; both are often slow.
    length = torch.rand(count, generator=generator) ** 1.5 * difficulty.shift
    length = length * (0.6 if kind == "background" else 1.0)
    shift = length[:, None] * torch.stack((angle.cos(), angle.sin()), -1)
    warp = difficulty.warp * torch.randn(count, 2, 2, generator=generator)
    centre = TEXTURE * (0.3 + 0.4 * torch.rand(count, 2, generator=generator))
    narrowest, widest = (0.15, 0.5) if kind == "small" else (0.5, 1.3)
    reach = torch.rand(count, generator=generator) * (widest - narrowest) + narrowest
    reach = size / BLOB * reach
    place = torch.zeros(count, 2)
    if kind == "small":
        place = 0.9 * size * (torch.rand(count, 2, generator=generator) - 0.5)
    bend = _smooth(count, size, generator, planes=2) * difficulty.bend
    # An outline that leaves the middle lets the layer stand anywhere.
    present = (torch.rand(count, 1, 1, 1, generator=generator) < 0.8).float()
    outline = None if kind == "background" else _outlines(count, generator) * present
    fade = [_fade(bank, difficulty.fading, generator) for _ in range(count)]
    picked = [bank[index] for index in chosen]
    bend = bend.permute(0, 2, 3, 1)
    return _Layer(picked, centre, shift, warp, bend, outline, reach, place, fade)


def _fade(bank: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, float] | None:
    if share == 0 or torch.rand((), generator=generator) >= share:
        return None
    other = int(torch.randint(len(bank), (), generator=generator))
    return bank[other], float(torch.rand((), generator=generator))


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


def _lit(
    frames: list[Tensor], moments: list[Tensor], share: float, generator: torch.Generator
) -> list[Tensor]:
    """Darken all *frames* alike, and in *share* of the scenes let the light change along the way.

    The change is linear: between two frames it is what fading from one to the other gives.
    """
    count, size = len(frames[0]), frames[0].shape[-1]
    gain = 0.6 + 0.4 * torch.rand(count, 1, 1, 1, generator=generator)
    changing = torch.rand(count, 1, 1, 1, generator=generator) < share
    everywhere = 0.1 * torch.randn(count, 1, 1, 1, generator=generator)
    change = everywhere + 0.1 * _smooth(count, size, generator, planes=1)
    change = torch.where(changing, change, 0)
    return [
        frame * gain * (1 + (moment.view(-1, 1, 1, 1) - 0.5) * change)
        for frame, moment in zip(frames, moments, strict=True)
    ]


def _noisy(frames: list[Tensor], share: float, generator: torch.Generator) -> list[Tensor]:
    """Give every frame noise of its own, in *share* of the scenes; some of it is coarse."""
    count, _, height, width = frames[0].shape
    octaves = torch.rand(count, 1, 1, 1, generator=generator)
    loud = QUIET * (LOUD / QUIET) ** octaves
    loud = torch.where(torch.rand(count, 1, 1, 1, generator=generator) < share, loud, 0)
    coarse = torch.rand(count, 1, 1, 1, generator=generator)
    noisy = []
    for frame in frames:
        fine = torch.randn(count, 1, height, width, generator=generator)
        # 2.5 makes up for what the mean over neighbours takes from the deviation.
        blurred = 2.5 * avg_pool2d(fine, 3, 1, 1, count_include_pad=False)
        noisy.append((frame + loud * torch.lerp(fine, blurred, coarse)).clamp(0, 1))
    return noisy


def _smooth(count: int, size: int, generator: torch.Generator, *, planes: int) -> Tensor:
    """Draw a slowly varying field of about unit variance, [count, planes, size, size]."""
    cells = math.ceil(size / 16) + 1
    field = torch.randn(count, planes, cells, cells, generator=generator)
    return interpolate(field, size=(size, size), mode="bicubic", align_corners=True)


def _paces(count: int, calm: float, generator: torch.Generator) -> Tensor:
    """Draw how much slower than usual: for *calm* of them anything down to standing still."""
    chosen = torch.rand(count, generator=generator) < calm
    slower = (1.3 * torch.rand(count, generator=generator) - 0.3).clamp(min=0) ** 3
    return torch.where(chosen, slower, torch.ones(count))


def _times(count: int, generator: torch.Generator) -> Tensor:
    often = torch.tensor([*[0.5] * 8, 0.25, 0.75, 0.2, 0.4, 0.6, 0.8, 1 / 3, 2 / 3])
    return often[torch.randint(len(often), (count,), generator=generator)]


def whole_shift(texture: Tensor, way: Tensor, size: int) -> Tensor:
    """Return the middle of *texture*, [3, size, size], moved by *way*, [2], x and y in pixels."""
    steps = torch.arange(size) - (size - 1) / 2 + TEXTURE / 2
    place = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1) - way
    return _read(texture[None], place[None] * DENSITY, "reflection")[0]


def _read(picture: Tensor, place: Tensor, padding: str) -> Tensor:
    grid = (2 * place + 1) / picture.shape[-1] - 1
    return grid_sample(picture, grid, mode="bilinear", padding_mode=padding, align_corners=False)
