"""Draw a contact sheet: six frames of each clip that a checkpoint makes.

    python -m weights.train.sheet WEIGHTS SHEET.jpg
    python -m weights.train.sheet WEIGHTS SHEET.jpg --of styles

The prompts are SCENES, and each one's seed is its place among them: nothing is chosen. To add a
sheet, add a row to SHEETS.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from wan_local.errors import WeightsMissing
from wan_local.interpolation.opening import NETWORKS, open_interpolator
from wan_local.plan import VideoPlan
from weights.train.asking import I2V, T2V, Studio, a_plan, drawn, said
from weights.train.clips import Scene
from weights.train.measures import style_loras
from weights.train.styles import TAUGHT

SCENES = (
    Scene("red", "star", "moving right", "slowly", "striped"),
    Scene("cyan", "circle", "growing", "quickly", "cloudy"),
    Scene("yellow", "cross", "turning", "slowly", "navy"),
    Scene("green", "triangle", "moving up", "quickly", "checkered"),
)
Rows = list[tuple[str, Tensor]]
"""Captions, and clips [3, frames, height, width] in 0..1."""
FRAMES, SHOWN = 17, 6
APART = [7, 10]
"""Two frames between which the star moves 16 pixels, a sixth of the picture's height."""
SCALE, GAP, LINE = 2, 4, 16
"""Of a pixel, between frames, and the height of a line of text."""


def sheet(clips: Rows) -> Image.Image:
    """Return *clips*, all of one size, below one another, each under its caption."""
    height, width = (side * SCALE for side in clips[0][1].shape[2:])
    row = LINE + height + GAP
    page = Image.new("RGB", (SHOWN * (width + GAP) + GAP, len(clips) * row + GAP), "white")
    draw = ImageDraw.Draw(page)
    for number, (caption, video) in enumerate(clips):
        draw.text((GAP, number * row + 2), caption, fill="black")
        chosen = torch.linspace(0, video.shape[1] - 1, SHOWN).round().long().tolist()
        for column, index in enumerate(chosen):
            levels = (video[:, index].permute(1, 2, 0) * 255).round().clamp(0, 255)
            frame = Image.fromarray(levels.byte().numpy()).resize((width, height))
            page.paste(frame, (GAP + column * (width + GAP), number * row + LINE))
    return page


def prompts(studio: Studio) -> Rows:
    """Return what each of SCENES looks like, by its caption."""
    return [_asked(studio, a_plan(T2V, said(scene), n, FRAMES)) for n, scene in enumerate(SCENES)]


def styles(studio: Studio) -> Rows:
    """Return one prompt and seed without a LoRA, and with each that teaches a style."""
    plan = a_plan(T2V, said(SCENES[0]), 0, FRAMES)
    rows = [_asked(studio, plan)]
    for style in TAUGHT:
        loras = style_loras(style, studio.weights / "loras" / "styles")
        rows.append((f"the same with the LoRA {style}", _asked(studio, plan, loras=loras)[1]))
    return rows


def pictures(studio: Studio) -> Rows:
    """Return a drawn clip; what is made of its first frame; and of its first and its last."""
    clip = drawn(SCENES[1], I2V, FRAMES)
    first, last = (studio.picture(clip[:, end]) for end in (0, -1))
    plan = a_plan(I2V, said(SCENES[1]), 0, FRAMES, first_frame=first)
    return [
        (f"drawn: {plan.prompt.text}", clip),
        ("made of that prompt and the first frame", _asked(studio, plan)[1]),
        ("made of both ends", _asked(studio, plan, last_frame=last)[1]),
    ]


def _asked(studio: Studio, plan: VideoPlan, **changes: Any) -> tuple[str, Tensor]:
    return plan.prompt.text, studio.clip(replace(plan, **changes))


def between(studio: Studio) -> Rows:
    """Return two frames of one drawn clip with four between them, by what put them there."""
    clip = drawn(replace(SCENES[0], speed="quickly"), T2V, FRAMES)
    first, last = clip[:, APART].transpose(0, 1).split(1)
    times = torch.linspace(0, 1, SHOWN)
    rows = {"faded": [first.lerp(last, float(time)) for time in times]}
    for name in NETWORKS:
        try:
            network = open_interpolator(name, studio.weights, torch.device("cpu"))
        except WeightsMissing as missing:
            print(f"{name} is left out: {missing}")
            continue
        rows[name] = [first, *network.between(first, last, times[1:-1].tolist()), last]
    return [(name, torch.cat(frames).transpose(0, 1)) for name, frames in rows.items()]


SHEETS: dict[str, Callable[[Studio], Rows]] = {
    "prompts": prompts,
    "styles": styles,
    "pictures": pictures,
    "between": between,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--of", choices=SHEETS, default="prompts")
    flags = parser.parse_args()
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory() as scratch:
        rows = SHEETS[flags.of](Studio(flags.weights, Path(scratch)))
    sheet(rows).save(flags.sheet)
