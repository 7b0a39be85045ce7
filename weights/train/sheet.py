"""Draw a contact sheet: what a checkpoint shows for a few prompts, six frames of each.

    python -m weights.train.sheet WEIGHTS SHEET.jpg

The prompts are SCENES, and each one's seed is its place among them: nothing is chosen.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from wan_local.plan import PromptSpec
from weights.train.asking import T2V, Studio, a_plan
from weights.train.clips import Scene

SCENES = (
    Scene("red", "star", "moving right", "slowly", "striped"),
    Scene("cyan", "circle", "growing", "quickly", "cloudy"),
    Scene("yellow", "cross", "turning", "slowly", "navy"),
    Scene("green", "triangle", "moving up", "quickly", "checkered"),
)
FRAMES, SHOWN = 17, 6
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


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(Path(sys.argv[1]), Path(folder))
        plans = [
            a_plan(T2V, PromptSpec(text=scene.caption), seed, FRAMES)
            for seed, scene in enumerate(SCENES)
        ]
        shown = [(plan.prompt.text, studio.clip(plan) * 2 - 1) for plan in plans]
    sheet(shown).save(Path(sys.argv[2]))
