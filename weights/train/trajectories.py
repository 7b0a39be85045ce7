"""What the two experts make of noise in many guided steps, at the levels of the four-step schedule.

    python -m weights.train.trajectories TEXT HIGH LOW OUT --minutes 30
    python -m weights.train.trajectories TEXT HIGH LOW OUT --task i2v --corpus CORPUS_OF_I2V

A distilled pair is trained on these (`turbo.py`): from each level, straight to where the teacher
arrives at the next. Shards are written until the time is up or there are `--shards` of them; a
later call goes on.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wan_local.catalog import MODELS
from wan_local.catalog import Kind as Task
from wan_local.geometry import TEMPORAL_STRIDE, latent_frames
from wan_local.plan import SamplingSpec
from wan_local.stages.schedule import schedule
from weights.train import experts
from weights.train.conditioning import BOUNDARIES
from weights.train.corpus import KINDS, Corpus, training_scene
from weights.train.experts import Predict, Said, read_expert, read_texts
from weights.train.shards import save_shard
from weights.train.text import Texts, phrase
from weights.train.transformer import short_text, velocity

STEPS = 4
"""Of the student."""
FINE = 5
"""Steps of the teacher for each of the student's."""
SHIFT = 5.0
GUIDANCE: dict[Task, tuple[float, float]] = {"t2v": (3.5, 4.0), "i2v": (3.5, 3.5)}
"""Of the high and the low-noise expert: the endpoints' own defaults."""
TOKENS = 2 * experts.TOKENS
"""Of one shard."""
STRIDE = MODELS["wan2.2-t2v-a14b"].stride


@cache
def levels(steps: int) -> Tensor:
    """Return the noise levels of Euler's method as the turbo endpoints run it, [steps + 1]."""
    spec = SamplingSpec(
        seed=0,
        steps=steps,
        shift=SHIFT,
        boundary=None,
        guidance_high=1,
        guidance_low=1,
        solver="euler",
    )
    return schedule(spec, {}).sigmas


class Teacher:
    """Two finished experts, guided.

    Args:
        pair: High and low noise.
        guidance: Of each.
        boundary: Noise level from which on down the second one works.
    """

    def __init__(self, pair: Sequence[Any], guidance: Sequence[float], boundary: float) -> None:
        self._predict: list[Predict] = [partial(velocity, e, short_text(e)) for e in pair]
        self._guidance = guidance
        self._boundary = boundary

    def velocity(self, noisy: Tensor, level: float, said: Said, condition: Tensor | None) -> Tensor:
        """Return the guided velocity of *noisy* clips, all at one *level*.

        *said* holds the clips' words, and as many times none.
        """
        side = int(level < self._boundary)
        shown = noisy if condition is None else torch.cat([noisy, condition], 1)
        sigma = torch.full((2 * len(noisy),), level)
        towards, away = self._predict[side](shown.repeat(2, 1, 1, 1, 1), sigma, said).chunk(2)
        return away + self._guidance[side] * (towards - away)


def journey(
    velocity_at: Callable[[Tensor, float], Tensor], noise: Tensor, fine: int = FINE
) -> Tensor:
    """Follow a velocity from noise to clean latents.

    Two-step Adams-Bashforth; the first step is Euler's, and so is the last, which is the longest.

    Args:
        velocity_at: (latents, noise level) -> velocity.
        noise: [clips, channels, frames, height, width].
        fine: Steps for each of the student's.

    Returns:
        The mean velocity over each of the student's steps, [clips, STEPS, channels, ...]: a student
        that has them arrives where this arrived.
    """
    way = levels(STEPS * fine)
    means, latents, start, before = [], noise, noise, None
    for index, (level, following) in enumerate(zip(way.tolist(), way.tolist()[1:], strict=False)):
        seen = velocity_at(latents, level)
        straight = seen
        if before is not None and following > 0:
            ratio = (following - level) / (level - float(way[index - 1]))
            straight = seen + (seen - before) * ratio / 2
        latents = latents + straight * (following - level)
        before = seen
        if (index + 1) % fine == 0:
            means.append((latents - start) / (following - float(way[index + 1 - fine])))
            start = latents
    return torch.stack(means, 1)


def states(noise: Tensor, means: Tensor) -> Tensor:
    """Return the latents at each level, [clips, STEPS + 1, channels, ...], the noise first."""
    steps = levels(STEPS).diff().view(1, -1, 1, 1, 1, 1)
    return torch.cat([noise[:, None], noise[:, None] + (means * steps).cumsum(1)], 1)


@torch.inference_mode()
def write(
    teacher: Teacher,
    texts: Texts,
    out: Path,
    *,
    minutes: float,
    corpus: Corpus | None = None,
    shards: int = 1000,
) -> None:
    """Write shards to *out* for *minutes*; with a *corpus*, beside what is known of its clips."""
    out.mkdir(parents=True, exist_ok=True)
    torch.set_flush_denormal(True)
    end = time.perf_counter() + 60 * minutes
    for number in range(shards):
        if time.perf_counter() > end:
            return
        if not any(out.glob(f"*.{number:04}.safetensors")):
            generator = torch.Generator().manual_seed(number)
            start = _from_words(generator) if corpus is None else _from_clips(corpus, generator)
            _write_shard(teacher, texts, start, out, number)


@dataclass(frozen=True, slots=True)
class Start:
    """Where journeys of one shape begin."""

    noise: Tensor
    """[clips, 16, frames, height, width]."""
    prompts: list[str]
    condition: Tensor | None = None
    """What is shown beside the noise, [clips, 20, frames, height, width]."""


def _from_words(generator: torch.Generator) -> Start:
    kinds = KINDS["t2v"]
    shares = torch.tensor([kind.share for kind in kinds])
    kind = kinds[int(torch.multinomial(shares, 1, generator=generator))]
    shape = (latent_frames(kind.frames), kind.height // STRIDE, kind.width // STRIDE)
    count = max(2, round(TOKENS * 4 / math.prod(shape)))
    noise = torch.randn(count, 16, *shape, generator=generator)
    return Start(noise, [phrase(training_scene(generator), generator) for _ in range(count)])


def _from_clips(corpus: Corpus, generator: torch.Generator) -> Start:
    batch, scenes = corpus.draw(TOKENS, generator)
    noise = torch.randn(batch.latents.shape, generator=generator)
    return Start(noise, [phrase(scene, generator) for scene in scenes], batch.condition)


def _write_shard(teacher: Teacher, texts: Texts, start: Start, out: Path, number: int) -> None:
    said = texts.embed(start.prompts + [""] * len(start.prompts))
    # In float32, as on the endpoints: guidance multiplies the errors of bfloat16, which took 10 to
    # 25 % less CPU time.
    means = journey(partial(teacher.velocity, said=said, condition=start.condition), start.noise)
    tensors = {"noise": start.noise, "means": means}
    if start.condition is not None:
        tensors["condition"] = start.condition
    frames, height, width = start.noise.shape[2:]
    kind = f"{1 + (frames - 1) * TEMPORAL_STRIDE}x{height * STRIDE}x{width * STRIDE}"
    save_shard(out / f"{kind}.{number:04}.safetensors", tensors, prompts=start.prompts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("text", "high", "low", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--task", choices=GUIDANCE, default="t2v")
    parser.add_argument("--corpus", type=Path, help="of image to video")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--guidance", type=float, nargs=2, metavar=("HIGH", "LOW"))
    flags = parser.parse_args()
    if (flags.task == "i2v") != (flags.corpus is not None):
        parser.error("--task i2v needs --corpus, and t2v takes none")
    write(
        Teacher(
            [read_expert(flags.high), read_expert(flags.low)],
            flags.guidance or GUIDANCE[flags.task],
            BOUNDARIES[flags.task],
        ),
        read_texts(flags.text),
        flags.out,
        minutes=flags.minutes,
        shards=flags.shards,
        corpus=Corpus(flags.corpus, flags.task) if flags.corpus else None,
    )
