"""Teach two finished experts a style, by LoRAs in the layout and the number of files of its row.

    python -m weights.train.corpus VAE OUT/dusk --style dusk
    python -m weights.train.style_loras dusk OUT/dusk TEXT HIGH LOW OUT --minutes 10

OUT is the folder `loras/styles` of a weights directory, where `evaluate.py` looks for them.

A pair is trained one half after the other. A single file is one change for both experts, which take
turns in training it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from weights.train.corpus import Corpus
from weights.train.experts import SEED, Lesson, Side, read_expert, read_texts
from weights.train.loras import MATRIX_RATE, Lora
from weights.train.progress import Course
from weights.train.styles import STYLES, TAUGHT, Layout
from weights.train.text import Texts
from weights.train.transformer import short_text, velocity

RANK = 8


def files(style: str) -> dict[str, tuple[Side, ...]]:
    """Return the names of the files of *style*, each with the experts it is for."""
    if STYLES[style].files == "single":
        return {f"{style}.safetensors": ("high", "low")}
    return {f"{style}_{half}_noise.safetensors": (half,) for half in ("high", "low")}


def train(
    corpus: Corpus,
    texts: Texts,
    experts: Sequence[tuple[Side, Any]],
    file: Path,
    *,
    layout: Layout,
    minutes: float,
    rate: float = 2e-3,
) -> None:
    """Train one file on *corpus*, for *experts* with the noise levels that each works at."""
    torch.manual_seed(SEED)
    torch.set_flush_denormal(True)
    lora = Lora(experts[0][1], rank=RANK)
    processors = [short_text(expert) for _, expert in experts]
    course = Course(
        lora,
        file.with_suffix(""),
        minutes=minutes,
        rate=rate,
        seed=SEED,
        matrix_rate=MATRIX_RATE,
    )
    lesson = Lesson(corpus, texts, course.generator)
    for step in course:
        turn = step % len(experts)
        side, expert = experts[turn]
        errors, _ = lesson.errors(partial(velocity, lora.on(expert), processors[turn]), side)
        course.learn(errors.mean(), **{side: float(errors.detach().mean())})
    course.average().save(file, layout)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("style", choices=TAUGHT)
    for name in ("corpus", "text", "high", "low", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--minutes", type=float, default=10, help="for all files together")
    flags = parser.parse_args()
    texts, wanted = read_texts(flags.text), files(flags.style)
    for name, sides in wanted.items():
        train(
            Corpus(flags.corpus),
            texts,
            [(side, read_expert(getattr(flags, side))) for side in sides],
            flags.out / name,
            layout=STYLES[flags.style].layout,
            minutes=flags.minutes / len(wanted),
        )
