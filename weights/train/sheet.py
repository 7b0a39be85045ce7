"""Draw a contact sheet: what a checkpoint shows for a few prompts, six frames of each.

    python -m weights.train.sheet WEIGHTS SHEET.jpg
    python -m weights.train.sheet WEIGHTS SHEET.jpg --between

The prompts are SCENES, and each one's seed is its place among them: nothing is chosen. With
`--between`, two frames of the first scene as it is drawn, moving quickly, and what is put between
them: by fading from one to the other, and by each interpolator that WEIGHTS has.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from wan_local.errors import WeightsMissing
from wan_local.interpolation.opening import NETWORKS, open_interpolator
from wan_local.plan import PromptSpec
from weights.train.asking import SIZES, T2V, Studio, a_plan
from weights.train.clips import Scene, render

SCENES = (
    Scene("red", "star", "moving right", "slowly", "striped"),
    Scene("cyan", "circle", "growing", "quickly", "cloudy"),
    Scene("yellow", "cross", "turning", "slowly", "navy"),
    Scene("green", "triangle", "moving up", "quickly", "checkered"),
)
FRAMES, SHOWN = 17, 6
APART = [7, 10]
"""Two frames between which the star moves 16 pixels, a sixth of the picture's height."""
SCALE, GAP, LINE = 2, 4, 16
"""Of a pixel, between frames, and the height of a line of text."""


def sheet(clips: list[tuple[str, Tensor]]) -> Image.Image:
    """Return *clips* below one another, each under its caption.

    Args:
        clips: Captions, and frames [3, frames, height, width] in -1..1, all of one size.
    """
    height, width = (side * SCALE for side in clips[0][1].shape[2:])
    row = LINE + height + GAP
    page = Image.new("RGB", (SHOWN * (width + GAP) + GAP, len(clips) * row + GAP), "white")
    draw = ImageDraw.Draw(page)
    for number, (caption, video) in enumerate(clips):
        draw.text((GAP, number * row + 2), caption, fill="black")
        chosen = torch.linspace(0, video.shape[1] - 1, SHOWN).round().long().tolist()
        for column, index in enumerate(chosen):
            levels = ((video[:, index].permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255)
            frame = Image.fromarray(levels.byte().numpy()).resize((width, height))
            page.paste(frame, (GAP + column * (width + GAP), number * row + LINE))
    return page


def generated(studio: Studio) -> list[tuple[str, Tensor]]:
    """Return what each of SCENES looks like, by its caption."""
    plans = [
        a_plan(T2V, PromptSpec(text=scene.caption), seed, FRAMES)
        for seed, scene in enumerate(SCENES)
    ]
    return [(plan.prompt.text, studio.clip(plan) * 2 - 1) for plan in plans]


def between(weights: Path) -> list[tuple[str, Tensor]]:
    """Return two frames of one drawn clip with four between them, by what put them there."""
    scene = replace(SCENES[0], speed="quickly")
    size = {"frames": FRAMES, "height": SIZES[T2V].height, "width": SIZES[T2V].width}
    clip = render(scene, **size, generator=torch.Generator().manual_seed(0))
    first, last = ((clip[:, APART] + 1) / 2).transpose(0, 1).split(1)
    times = torch.linspace(0, 1, SHOWN)
    rows = {"faded": [first.lerp(last, float(time)) for time in times]}
    for name in NETWORKS:
        try:
            network = open_interpolator(name, weights, torch.device("cpu"))
        except WeightsMissing as missing:
            print(f"{name} is left out: {missing}")
            continue
        rows[name] = [first, *network.between(first, last, times[1:-1].tolist()), last]
    return [(name, torch.cat(frames).transpose(0, 1) * 2 - 1) for name, frames in rows.items()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--between", action="store_true")
    flags = parser.parse_args()
    torch.set_flush_denormal(True)
    if flags.between:
        rows = between(flags.weights)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            rows = generated(Studio(flags.weights, Path(scratch)))
    sheet(rows).save(flags.sheet)
