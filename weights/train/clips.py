"""Captioned synthetic clips: one coloured shape moves, turns or grows over a still background.

Everything is drawn here, from signed distances, so that no licence question arises and any size and
number of frames can be asked for. A caption names exactly what `reader.py` can read back from the
pixels. To add a shape, a motion or a background: a row in its table, and a look at whether the
reader still tells them apart (`tests/weights/train`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.90, 0.10, 0.10),
    "green": (0.10, 0.75, 0.20),
    "blue": (0.15, 0.30, 0.95),
    "yellow": (0.95, 0.90, 0.15),
    "magenta": (0.90, 0.20, 0.85),
    "cyan": (0.15, 0.85, 0.90),
    "orange": (0.98, 0.55, 0.08),
    "white": (0.97, 0.97, 0.97),
}
SPEEDS = {"slowly": 0.5, "quickly": 0.8}
"""Share of the longest way there is."""
ROUND = {"circle", "ring"}
"""Shapes that look the same however they are turned; no caption says that they turn."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a clip shows, in the caption's own words."""

    colour: str
    shape: str
    motion: str
    speed: str
    background: str

    @property
    def caption(self) -> str:
        """The scene as a prompt."""
        article = "an" if self.colour[0] in "aeiou" else "a"
        how = self.motion if self.motion == "standing still" else f"{self.motion} {self.speed}"
        return f"{article} {self.colour} {self.shape} {how} over a {self.background} background"


@dataclass(frozen=True, slots=True)
class Path:
    """Where the shape is: one value a frame, in halves of the picture's shorter side."""

    radius: Tensor
    """[frames]"""
    x: Tensor
    """[frames], 0 in the middle."""
    y: Tensor
    """[frames], 0 in the middle, downwards."""
    angle: Tensor
    """[frames], radians."""


@dataclass(frozen=True, slots=True)
class Reach:
    """From the picture's middle to its edges, in halves of its shorter side."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Chance:
    """What the caption does not say: drawn once a clip, each 0 to 1."""

    size: float
    place: float
    """Along the longer way of the motion, or across."""
    other_place: float
    phase: float
    tone: float
    side: float


def random_scene(generator: torch.Generator) -> Scene:
    """Draw a scene; every combination that makes sense is equally likely."""
    while True:
        scene = Scene(
            _pick(COLOURS, generator),
            _pick(SHAPES, generator),
            _pick(MOTIONS, generator),
            _pick(SPEEDS, generator),
            _pick(BACKGROUNDS, generator),
        )
        if scene.shape not in ROUND or scene.motion != "turning":
            return scene


def render(
    scene: Scene,
    *,
    frames: int,
    height: int,
    width: int,
    generator: torch.Generator,
    part: slice = slice(None),
    background: Background | None = None,
) -> Tensor:
    """Draw *scene*; what its caption leaves open is drawn from *generator*.

    A motion takes the whole clip, whatever its number of frames.

    Args:
        scene: What to draw.
        frames: Of the whole clip.
        height: Pixels.
        width: Pixels.
        generator: Of chance.
        part: Which of the frames to draw.
        background: What stands in the place of the scene's own.

    Returns:
        [3, frames in *part*, height, width], float32 in -1..1, edges smoothed.
    """
    chance = Chance(*torch.rand(6, generator=generator).tolist())
    x, y = _grid(height, width)
    time = (torch.linspace(0, 1, frames) if frames > 1 else torch.zeros(1))[part]
    short = min(height, width)
    reach = Reach(width / short, height / short)
    path = MOTIONS[scene.motion](time, SPEEDS[scene.speed], reach, chance)
    distance = signed_distance(
        scene.shape, x - _per_frame(path.x), y - _per_frame(path.y), path.angle, path.radius
    )
    cover = (0.5 - distance * short / 3).clamp(0, 1)[:, None]
    paint = background or BACKGROUNDS[scene.background]
    behind = paint(x, y, chance, generator)[None]
    colour = torch.tensor(COLOURS[scene.colour]).view(1, 3, 1, 1) * (0.92 + 0.08 * chance.tone)
    video = behind * (1 - cover) + colour * cover
    return video.permute(1, 0, 2, 3) * 2 - 1


def signed_distance(shape: str, x: Tensor, y: Tensor, angle: Tensor, radius: Tensor) -> Tensor:
    """Return how far each point is from the edge of *shape*, negative inside.

    Args:
        shape: A name of SHAPES.
        x: [frames, height, width] or broadcastable, from the shape's centre.
        y: Likewise, downwards.
        angle: [frames], radians.
        radius: [frames], in the unit of *x* and *y*, as is the result.
    """
    cos, sin = _per_frame(angle.cos()), _per_frame(angle.sin())
    return SHAPES[shape](cos * x + sin * y, cos * y - sin * x, _per_frame(radius))


# ── shapes ───────────────────────────────────────────────────────────────────────────────────────


def _circle(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return torch.hypot(x, y) - r


def _ring(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return (torch.hypot(x, y) - 0.78 * r).abs() - 0.24 * r


def _square(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return torch.maximum(x.abs(), y.abs()) - 0.85 * r


def _cross(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    arm = 0.32 * r
    lying = torch.maximum(x.abs() - r, y.abs() - arm)
    standing = torch.maximum(x.abs() - arm, y.abs() - r)
    return torch.minimum(lying, standing)


def _triangle(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    sides = math.cos(math.pi / 6) * x.abs() - 0.5 * y - 0.55 * r
    return torch.maximum(sides, y - 0.55 * r)


def _star(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    # Folded into one fifth, half of it: the distance to the edge from a tip to a notch.
    fifth = 2 * math.pi / 5
    theta = torch.remainder(torch.atan2(x, -y) + fifth / 2, fifth) - fifth / 2
    length = torch.hypot(x, y)
    px, py = length * theta.abs().cos(), length * theta.abs().sin()
    tip = 1.08 * r
    notch_x, notch_y = 0.38 * r * math.cos(fifth / 2), 0.38 * r * math.sin(fifth / 2)
    edge_x, edge_y = notch_x - tip, notch_y
    return ((px - tip) * edge_y - py * edge_x) / torch.hypot(edge_x, edge_y)


SHAPES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
}


# ── motions ──────────────────────────────────────────────────────────────────────────────────────


def _moving(x: int, y: int) -> Callable[[Tensor, float, Reach, Chance], Path]:
    def move(time: Tensor, speed: float, reach: Reach, chance: Chance) -> Path:
        still = _still(time, speed, reach, chance)
        room = (reach.x if x else reach.y) - float(still.radius[0]) * 1.05
        length = 2 * max(room, 0.1) * 0.9 * speed
        # Laid so that it ends inside the picture, however fast it goes.
        middle = (2 * chance.place - 1) * (room - length / 2) * 0.9
        way = middle + (x + y) * length * (time - 0.5)
        return Path(still.radius, way if x else still.x, way if y else still.y, still.angle)

    return move


def _still(time: Tensor, _speed: float, reach: Reach, chance: Chance) -> Path:
    # Large, so that the VAE's eighth of the picture still shows which shape it is.
    radius = 0.48 + 0.12 * chance.size
    x = (2 * chance.place - 1) * max(reach.x - radius * 1.05, 0) * 0.6
    y = (2 * chance.other_place - 1) * max(reach.y - radius * 1.05, 0) * 0.6
    ones = torch.ones_like(time)
    return Path(radius * ones, x * ones, y * ones, 0 * ones)


def _turning(time: Tensor, speed: float, reach: Reach, chance: Chance) -> Path:
    still = _still(time, speed, reach, chance)
    way = 1 if chance.side > 0.5 else -1
    angle = 2 * math.pi * (chance.phase + way * speed * time)
    return Path(still.radius, still.x, still.y, angle)


def _growing(time: Tensor, speed: float, reach: Reach, chance: Chance) -> Path:
    still = _still(time, speed, reach, chance)
    radius = 0.38 * (1 + 1.1 * speed * time) + 0.06 * chance.size
    return Path(radius, still.x * 0.5, still.y * 0.5, still.angle)


def _shrinking(time: Tensor, speed: float, reach: Reach, chance: Chance) -> Path:
    return _growing(1 - time, speed, reach, chance)


MOTIONS: dict[str, Callable[[Tensor, float, Reach, Chance], Path]] = {
    "moving left": _moving(-1, 0),
    "moving right": _moving(1, 0),
    "moving up": _moving(0, -1),
    "moving down": _moving(0, 1),
    "turning": _turning,
    "growing": _growing,
    "shrinking": _shrinking,
    "standing still": _still,
}


# ── backgrounds: muted, so that a saturated or white shape stands out ────────────────────────────

Background = Callable[[Tensor, Tensor, Chance, torch.Generator], Tensor]


def _plain(red: float, green: float, blue: float) -> Background:
    def paint(x: Tensor, _y: Tensor, chance: Chance, _generator: torch.Generator) -> Tensor:
        tone = torch.tensor([red, green, blue]).view(3, 1, 1) * (0.85 + 0.3 * chance.tone)
        return tone.expand(3, *x.shape)

    return paint


def _striped(x: Tensor, _y: Tensor, chance: Chance, _generator: torch.Generator) -> Tensor:
    return _mixed(torch.sin((x + chance.phase) * math.pi * 4).mul(6).sigmoid())


def _checkered(x: Tensor, y: Tensor, chance: Chance, _generator: torch.Generator) -> Tensor:
    waves = [torch.sin((way + chance.phase) * math.pi * 2.5) for way in (x, y)]
    return _mixed((waves[0] * waves[1]).mul(12).sigmoid())


def _gradient(_x: Tensor, y: Tensor, chance: Chance, _generator: torch.Generator) -> Tensor:
    down = (y - y.min()) / (y.max() - y.min())
    return _mixed(down if chance.side > 0.5 else 1 - down)


def _cloudy(x: Tensor, _y: Tensor, _chance: Chance, generator: torch.Generator) -> Tensor:
    coarse = torch.rand(1, 1, 5, 8, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, x.shape, mode="bicubic", align_corners=False)
    return _mixed(fine[0, 0].clamp(0, 1))


def _mixed(share: Tensor) -> Tensor:
    dark, light = (0.16, 0.18, 0.22), (0.40, 0.38, 0.36)
    tones = [torch.tensor(tone).view(3, 1, 1) for tone in (dark, light)]
    return tones[0] * (1 - share) + tones[1] * share


BACKGROUNDS: dict[str, Background] = {
    "black": _plain(0.04, 0.04, 0.04),
    "grey": _plain(0.45, 0.45, 0.45),
    "brown": _plain(0.35, 0.22, 0.12),
    "navy": _plain(0.05, 0.07, 0.25),
    "striped": _striped,
    "checkered": _checkered,
    "cloudy": _cloudy,
    "gradient": _gradient,
}


def _pick(table: dict[str, object], generator: torch.Generator) -> str:
    names = list(table)
    return names[int(torch.randint(len(names), (1,), generator=generator))]


def _grid(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return x and y of the pixels' centres, [height, width], in halves of the shorter side."""
    half = min(height, width) / 2
    x = (torch.arange(width) + 0.5 - width / 2) / half
    y = (torch.arange(height) + 0.5 - height / 2) / half
    across, down = torch.meshgrid(x, y, indexing="xy")
    return across, down


def _per_frame(values: Tensor) -> Tensor:
    return values[:, None, None]
