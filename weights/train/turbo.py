"""Distil two experts into a four-step pair of LoRAs, on trajectories that they made themselves.

    python -m weights.train.turbo TRAJECTORIES TEXT HIGH LOW OUT --minutes 30

Each step of the student is a regression: from a state of the teacher's journey, the mean velocity
to its next state, guidance included. The high-noise LoRA learns the first two steps, the low-noise
one the others. OUT gets the two files under their published names; it is the folder
`loras/wan2.2-t2v-a14b-4step` of a weights directory (`--task i2v`: that of image to video).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from wan_local.catalog import LORAS
from weights.train.conditioning import BOUNDARIES
from weights.train.corpus import KINDS
from weights.train.experts import SEED, TOKENS, Predict, read_expert, read_texts
from weights.train.loras import MATRIX_RATE, Lora
from weights.train.progress import Course
from weights.train.shards import Shards
from weights.train.text import Texts
from weights.train.trajectories import STEPS, levels, states
from weights.train.transformer import short_text, velocity

Task = Literal["t2v", "i2v"]
Half = Literal["high", "low"]
RANK = 16


@dataclass(frozen=True, slots=True)
class Lesson:
    """Steps of the teacher, and their words."""

    shards: Shards
    texts: Texts
    task: Task

    def steps_of(self, half: Half) -> Tensor:
        """Return which of the student's steps an expert takes."""
        high = levels(STEPS)[:-1] >= BOUNDARIES[self.task]
        return (high if half == "high" else ~high).nonzero()[:, 0]

    def errors(self, predict: Predict, half: Half, generator: torch.Generator) -> Tensor:
        """Return the mean squared error of each clip, at a step drawn for each, [clips]."""
        shares = {kind.name: kind.share for kind in KINDS[self.task]}
        clips, prompts = self.shards.draw(shares, TOKENS, generator)
        own = self.steps_of(half)
        step = own[torch.randint(len(own), (len(prompts),), generator=generator)]
        each = torch.arange(len(prompts))
        start = states(clips["noise"], clips["means"])[each, step]
        shown = torch.cat([start, clips["condition"]], 1) if "condition" in clips else start
        said = self.texts.embed(prompts)
        with torch.autocast("cpu", torch.bfloat16):
            seen = predict(shown, levels(STEPS)[step], said)
        return (seen - clips["means"][each, step]).square().mean((1, 2, 3, 4))


def train(
    lesson: Lesson, expert: Any, half: Half, out: Path, *, minutes: float, rate: float = 2e-3
) -> None:
    """Train one half of the pair and write it to *out* under its published name."""
    torch.manual_seed(SEED)
    torch.set_flush_denormal(True)
    processor = short_text(expert)
    lora = Lora(expert, rank=RANK, whole=True)
    course = Course(
        lora, out / half, minutes=minutes, rate=rate, seed=SEED, matrix_rate=MATRIX_RATE
    )
    for step in course:
        if step % 200 == 0:
            lesson.shards.refresh()
        student = partial(velocity, lora.on(expert), processor)
        course.learn(lesson.errors(student, half, course.generator).mean())
    spec = LORAS[f"wan2.2-{lesson.task}-a14b-4step"]
    course.average().save(out / getattr(spec, half), "lightx2v")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("trajectories", "text", "high", "low", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--task", choices=("t2v", "i2v"), default="t2v")
    parser.add_argument("--minutes", type=float, default=30, help="for both halves together")
    flags = parser.parse_args()
    lesson = Lesson(
        Shards(flags.trajectories, "prompts", "noise"), read_texts(flags.text), flags.task
    )
    for half in ("high", "low"):
        expert = read_expert(getattr(flags, half))
        train(lesson, expert, half, flags.out, minutes=flags.minutes / 2)
