"""Measure an interpolator against fading from one frame to the next.

    python -m weights.train.evaluate_interpolators rife FILE [--clips FOLDER] [--record NAME]

Two measures, both in dB of PSNR above what fading gives. Shifts: textures that no training run
draws, or first frames of the clips, moved as a whole in sixteen directions, the frame half-way, 24
pixels of border left out. Clips: every video in FOLDER, shrunk so that its shorter or its longer
side has 256 pixels, every second frame left out and made again from its neighbours; a clip's number
is the mean over its frames, and all clips count the same. FILE is opened as a published file is.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import av
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from benchmarks.recording import machine, record
from wan_local.interpolation.opening import NETWORKS, load_network
from wan_local.interpolation.pairs import Interpolator
from weights.train.interpolators import decibels
from weights.train.motion import whole_shift
from weights.train.textures import SIDE as TEXELS
from weights.train.textures import textures

SIDE = 256
SHIFTS, DIRECTIONS = (1, 4, 8, 16), 16
"""Pixels from the first frame to the second, and ways that pictures are moved."""
UNSEEN = 20261
"""Seed of the textures; training draws from numbered seeds of its own (`textures.Bank`)."""
WINDOW, BORDER = 144, 24
"""Side of the shifted pictures, and how much at each edge is not compared."""
LONGEST = 65
"""Frames of a clip that are looked at."""
TRIPLETS = 12
"""Frames of a clip that are made again, spread evenly over it."""


def shifts(
    interpolator: Interpolator, pictures: Sequence[Tensor], pixels: float
) -> dict[str, float]:
    """Return PSNR in dB of fading and of the network where things move by *pixels*.

    Args:
        interpolator: What makes the frame half-way.
        pictures: [3, SIDE, SIDE] of `textures` each, 0 to 1; one direction for each.
        pixels: From the first frame to the second.
    """
    faded, made = [], []
    for index, picture in enumerate(pictures):
        angle = 2 * math.pi * index / len(pictures)
        way = torch.tensor([math.cos(angle), math.sin(angle)]) * pixels
        first, middle, second = (
            whole_shift(picture, way * (time - 0.5), WINDOW)[None] for time in (0, 0.5, 1)
        )
        frame = next(interpolator.between(first, second, [0.5]))
        inner = (..., slice(BORDER, -BORDER), slice(BORDER, -BORDER))
        faded.append(decibels(((first + second) / 2)[inner], middle[inner]))
        made.append(decibels(frame[inner], middle[inner]))
    return _compared(faded, made)


def clip(interpolator: Interpolator, frames: Tensor) -> dict[str, float]:
    """Return PSNR in dB of fading and of the network where every second of *frames* is missing.

    Args:
        interpolator: What makes them again.
        frames: [frames, 3, height, width], 0 to 1.
    """
    faded, made = [], []
    step = max(2, (len(frames) - 2) // TRIPLETS)
    step += step % 2
    for start in range(0, len(frames) - 2, step):
        first, middle, second = frames[start : start + 3].split(1)
        faded.append(decibels((first + second) / 2, middle))
        made.append(decibels(next(interpolator.between(first, second, [0.5])), middle))
    return _compared(faded, made)


def _compared(faded: list[float], made: list[float]) -> dict[str, float]:
    blend, network = round(fmean(faded), 2), round(fmean(made), 2)
    return {"blend": blend, "network": network, "gain": round(network - blend, 2)}


def clips(interpolator: Interpolator, folder: Path, side: str) -> dict[str, Any]:
    """Return the measure of every video in *folder*, its *side* of 256 pixels."""
    table = {
        path.stem: clip(interpolator, torch.stack(list(read(path, side))))
        for path in sorted(folder.glob("*.mp4"))
    }
    gains = [row["gain"] for row in table.values()]
    summary = {"mean_gain": round(fmean(gains), 2), "better_on": sum(gain > 0 for gain in gains)}
    return summary | {"clips": table}


def read(path: Path, side: str) -> Iterator[Tensor]:
    """Yield the first frames of the video at *path*, [3, height, width], in whole levels."""
    for pixels in _decoded(path, LONGEST):
        sides = pixels.shape[2:]
        scale = SIDE / (min(sides) if side == "shorter" else max(sides))
        size = [round(length * scale) for length in sides]
        small = interpolate(pixels, size=size, mode="bilinear", antialias=True)
        yield small[0].round().clamp(0, 255) / 255


def stills(folder: Path, count: int) -> list[Tensor]:
    """Return the middle of the first frame of *count* clips, [3, SIDE, SIDE] of `textures` each."""
    pictures = []
    for path in sorted(folder.glob("*.mp4"))[:count]:
        frame = next(_decoded(path, 1))
        height, width = frame.shape[2:]
        edge = min(height, width)
        square = frame[..., (height - edge) // 2 :, (width - edge) // 2 :][..., :edge, :edge]
        size = (TEXELS, TEXELS)
        pictures.append(interpolate(square, size=size, mode="bilinear", antialias=True)[0] / 255)
    return pictures


def _decoded(path: Path, limit: int) -> Iterator[Tensor]:
    """Yield up to *limit* frames, [1, 3, height, width], 0 to 255."""
    with av.open(str(path)) as container:
        for frame in islice(container.decode(video=0), limit):
            pixels = torch.from_numpy(frame.to_ndarray(format="rgb24"))
            yield pixels.permute(2, 0, 1)[None].float()


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("file", type=Path)
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--record", metavar="NAME", help="write it to benchmarks/results")
    flags = parser.parse_args()
    torch.set_flush_denormal(True)
    on = machine()
    interpolator = Interpolator(load_network(flags.network, flags.file, torch.float32))
    unseen = list(textures(DIRECTIONS, torch.Generator().manual_seed(UNSEEN)))
    numbers: dict[str, Any] = {
        f"textures, shift of {pixels} pixels": shifts(interpolator, unseen, pixels)
        for pixels in SHIFTS
    }
    if flags.clips:
        photographs = stills(flags.clips, DIRECTIONS)
        for pixels in SHIFTS:
            name = f"first frames, shift of {pixels} pixels"
            numbers[name] = shifts(interpolator, photographs, pixels)
        for side in ("shorter", "longer"):
            numbers[f"{side} side {SIDE}"] = clips(interpolator, flags.clips, side)
    print(json.dumps(numbers, indent=2))
    if flags.record:
        print(record(flags.record, on, {"network": flags.network, **numbers}))


if __name__ == "__main__":
    main()
