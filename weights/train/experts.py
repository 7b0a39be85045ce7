"""Train small Wan transformers by flow matching on a corpus of latents.

    python -m weights.train.experts CORPUS TEXT OUT1 --stills --minutes 60
    python -m weights.train.experts CORPUS TEXT OUT --minutes 30 --start OUT1
    python -m weights.train.experts CORPUS TEXT OUT2 --side high --minutes 12 --start OUT
    python -m weights.train.experts CORPUS_OF_I2V TEXT OUT3 --task i2v --side high --start OUT2
    python -m weights.train.experts CORPUS_OF_5B TEXT OUT4 --task ti2v --start GRAFTED

A base learns all noise levels, from pictures first: what a shape looks like takes the longest, and
a picture costs a fifth of the shortest clip. Each expert goes on from it on its own side of the
boundary. Image to video goes on from the experts of text to video, and so does the 5B kind, one
transformer for all levels, once they are made to fit (`mean`, `graft`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor
from transformers import UMT5EncoderModel

from wan_local.catalog import MODELS, Kind, ModelSpec
from weights.train.clips import Scene
from weights.train.conditioning import BOUNDARIES, WAYS, Shown
from weights.train.corpus import Corpus
from weights.train.progress import Course
from weights.train.text import Texts, phrase
from weights.train.transformer import SHAPE, attune, build, short_text, velocity, widen

__all__ = ["BOUNDARY", "SEED", "SHAPE", "build", "noise_levels", "train"]

Side = Literal["both", "high", "low"]
Said = tuple[Tensor, Tensor]
"""Embeddings [clips, longest, DIM] and lengths [clips]."""
Predict = Callable[[Tensor, Tensor, Said], Tensor]
"""(noisy latents, noise levels, texts) -> velocity."""
BOUNDARY = BOUNDARIES["t2v"]
SEED = 20260
UNPROMPTED = 0.12
"""Share of clips that are learned without their prompt, for classifier-free guidance."""
MATRICES = 40 / 3
"""How much faster matrices are learned by Muon than the rest by AdamW."""
TOKENS = 2300
"""Of one batch."""
MODEL_OF: dict[Kind, ModelSpec] = {
    "t2v": MODELS["wan2.2-t2v-a14b"],
    "i2v": MODELS["wan2.2-i2v-a14b"],
    "ti2v": MODELS["wan2.2-ti2v-5b"],
}


def noise_levels(
    count: int, side: Side, generator: torch.Generator, boundary: float = BOUNDARY
) -> Tensor:
    """Draw noise levels of *side*, [count]: more of the high ones, where more is decided."""
    u = torch.rand(count, generator=generator)
    if side == "high":
        return boundary + (1 - boundary) * u
    shifted = 3 * u / (1 + 2 * u)
    if side == "low":
        return shifted * boundary
    split = torch.rand(count, generator=generator) < 0.4
    return torch.where(split, boundary + (1 - boundary) * u, shifted * boundary)


def prompts(scenes: Sequence[Scene], generator: torch.Generator) -> list[str]:
    """Put *scenes* into words, some of them into none."""
    silent = torch.rand(len(scenes), generator=generator) < UNPROMPTED
    return [
        "" if quiet else phrase(scene, generator)
        for scene, quiet in zip(scenes, silent.tolist(), strict=True)
    ]


def read_texts(folder: Path) -> Texts:
    """Return the text side in *folder*, finished."""
    encoder = UMT5EncoderModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
    return Texts(folder / "tokenizer", encoder.requires_grad_(requires_grad=False))


def read_expert(folder: Path) -> Any:
    """Return the finished expert in *folder*, frozen, in float32."""
    expert = WanTransformer3DModel.from_pretrained(folder, torch_dtype=torch.float32)
    return expert.eval().requires_grad_(requires_grad=False)


@dataclass(frozen=True, slots=True)
class Lesson:
    """Where clips, their words and their noise come from."""

    corpus: Corpus
    texts: Texts
    generator: torch.Generator

    def errors(self, predict: Predict, side: Side) -> tuple[Tensor, Tensor]:
        """Let *predict* find the velocity of noised clips.

        Returns:
            Each clip's mean squared error, weighted, and its noise level, [clips].
        """
        generator, task = self.generator, self.corpus.task
        batch, scenes = self.corpus.draw(TOKENS, generator)
        latents = batch.latents
        sigma = noise_levels(len(latents), side, generator, BOUNDARIES.get(task, BOUNDARY))
        # A channel that the VAE leaves empty stays so: there is nothing in it to be learned.
        used = (latents != 0).amax((0, 2, 3, 4), keepdim=True)
        noise = torch.randn(latents.shape, generator=generator) * used
        level = sigma.view(-1, 1, 1, 1, 1)
        said = self.texts.embed(prompts(scenes, generator))
        noisy = (1 - level) * latents + level * noise
        shown: Shown = WAYS[task](noisy, sigma, batch, generator)
        with torch.autocast("cpu", torch.bfloat16):
            seen = predict(shown.latents, shown.sigma, said)
        errors = ((seen - (noise - latents)).square() * shown.weight)[:, :, shown.given :]
        return errors.mean((1, 2, 3, 4)) / used.float().mean(), sigma


def begin(task: Kind, texts: Texts, start: Path | None) -> Any:
    """Return the model that training begins with.

    Raises:
        ValueError: If it is not for text to video and there is nothing to *start* from.
    """
    if start is not None:
        model = WanTransformer3DModel.from_pretrained(start, torch_dtype=torch.float32)
        return widen(model, MODEL_OF[task].input_channels)
    if task != "t2v":
        msg = f"{task} goes on from what was learned for text to video: --start is missing"
        raise ValueError(msg)
    model = build()
    attune(model, texts, torch.Generator().manual_seed(SEED))
    return model


def train(
    corpus: Corpus,
    text: Path,
    out: Path,
    *,
    side: Side,
    minutes: float,
    start: Path | None = None,
    rate: float = 1.5e-3,
) -> None:
    """Train an expert for the task of *corpus* and write it to *out*."""
    torch.manual_seed(SEED)
    torch.set_flush_denormal(True)
    texts = read_texts(text)
    model = begin(corpus.task, texts, start)
    processor = short_text(model.train())
    predict = partial(velocity, model, processor)
    course = Course(model, out, minutes=minutes, rate=rate, seed=SEED, matrix_rate=rate * MATRICES)
    lesson = Lesson(corpus, texts, course.generator)
    for step in course:
        if step % 200 == 0:
            corpus.refresh()
        errors, sigma = lesson.errors(predict, side)
        high = sigma >= BOUNDARIES.get(corpus.task, BOUNDARY)
        figures = {"high": errors[high].mean(), "low": errors[~high].mean()}
        told = {name: float(value.detach()) for name, value in figures.items() if value == value}
        course.learn(errors.mean(), **told)
    course.average().half().save_pretrained(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("corpus", "text", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--task", choices=WAYS, default="t2v")
    parser.add_argument("--stills", action="store_true", help="from pictures alone")
    parser.add_argument("--side", choices=("both", "high", "low"), default="both")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--start", type=Path)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    flags = parser.parse_args()
    train(
        Corpus(flags.corpus, flags.task, stills=flags.stills),
        flags.text,
        flags.out,
        side=flags.side,
        minutes=flags.minutes,
        start=flags.start,
        rate=flags.rate,
    )
