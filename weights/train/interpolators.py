"""Trains small interpolation networks from nothing, on synthetic motion only.

    python weights/train/interpolators.py rife OUT --steps 12000 --minutes 60
    python weights/train/interpolators.py rife OUT2 --steps 15000 --start OUT
    python weights/train/interpolators.py film OUT4 --steps 24000 --decay 20000 --start NARROW

One thread, one seed: the same steps give the same bits on the same machine, however often the run
was interrupted. It goes on from OUT/state.safetensors if that is there. OUT/curve.jsonl has a line
for every hundred steps; OUT/model.safetensors, fp16, is the average of the last weights.

What made it learn at all: the true flow as a second target, motion that grows from a pixel and a
half, and small crops first. What made it no worse than fading where nothing moves: an error that
counts by its logarithm, and a true flow that binds only to within a pixel (`pupils.py`).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from weights.train.motion import Difficulty, Triplet, triplets
from weights.train.pupils import PUPILS, Lesson, Pupil, Strictness
from weights.train.textures import SHARP, SOFT, Bank, Blur

TEXTURES = 64
"""Textures to draw scenes from at any time."""
REPORT, SAVE = 100, 250
"""Steps from one line of the curve, and one saved state, to the next."""


@dataclass(frozen=True, slots=True)
class Course:
    """The plan of a training run, by steps: only the last phase depends on how many there are."""

    warmup: int = 200
    small_crops: int = 2500
    """Steps on crops of 64 pixels; 96 after that, about as many pixels a step in all."""
    full_motion: int = 2500
    """Step from which on motion is as large as it gets, and much of it as slow as real video."""
    strict_flow: int = 2000
    """Steps in which the true flow counts in full; later only as a hint, to within a pixel."""
    large_crops: int | None = None
    """Step from which on there is one crop of 192 pixels; no more pixels in all."""
    blur: Blur = SOFT
    """Of the textures that scenes are drawn from."""
    parts: int = 0
    """Small layers of a scene."""
    fading: float = 0.0
    """Share of the layers that dissolve."""
    calm: float = 0.5
    """Share of the layers, and of the scenes, that are slower in the end."""
    batch: int = 8

    def share_of_rate(self, step: int, steps: int, decay: int) -> float:
        """Constant after the warm-up, and falling over the last *decay* of *steps*."""
        late = min(1.0, max(0.0, (step - (steps - decay)) / decay))
        fall = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * late))
        return min(1.0, (step + 1) / self.warmup) * fall

    def share_of_average(self, step: int, steps: int, decay: int) -> float:
        """How much the newest weights count: more where they soon leave what they were.

        That is early, and while the rate falls, the more so the faster it falls.
        """
        if step < 1000:
            return 0.01
        return 0.001 if step < steps - decay else min(0.01, max(0.001, 35 / decay))

    def crop(self, step: int) -> tuple[int, int]:
        """Return how many crops of how many pixels."""
        if step < self.small_crops:
            return self.batch, 64
        if self.large_crops is None or step < self.large_crops:
            return self.batch // 2, 96
        return self.batch // 8, 192

    def difficulty(self, step: int) -> Difficulty:
        """Return how large the motion is, and how much else there is to see."""
        start = min(1.0, step / (self.full_motion / 8))
        rest = min(1.0, max(0.0, (step / self.full_motion - 0.1) / 0.9))
        return Difficulty(
            shift=1.5 + 2 * start + 18 * rest,
            warp=0.03 + 0.05 * rest,
            bend=0.2 + 0.6 * rest,
            calm=0.2 + (self.calm - 0.2) * rest,
            disturbed=0.2 + 0.6 * rest,
            parts=self.parts,
            fading=self.fading,
        )

    def strictness(self, step: int) -> Strictness:
        """Return how much the flow's error counts beside the picture's."""
        return Strictness(1.0, 0.0) if step < self.strict_flow else Strictness(0.15, 1.0)


FILM = Course(small_crops=1200, full_motion=1200, strict_flow=1000)
# The sharper a picture, the more is blurred by a flow that moves it by a tenth of a pixel.
WIDE = replace(FILM, large_crops=0, blur=SHARP, parts=2, fading=0.1, calm=0.6)
COURSES = {
    "rife": Course(),
    # A step takes three times as long, and motion is found by warping, level by level.
    "film-narrow": FILM,
    "film": FILM,
    # The coarse levels of a small crop are all border: of a real frame they put out flows of half a
    # pixel where nothing moved.
    "film-flows": replace(FILM, large_crops=0),
    "film-wide": WIDE,
    "film-fine": replace(WIDE, calm=0.85),
    "film-finest": replace(WIDE, calm=0.85),
}


class Training:
    """One run: the network, its average, and everything the next step depends on."""

    def __init__(self, pupil: Pupil, course: Course, seed: int) -> None:
        torch.manual_seed(seed)
        self.pupil, self.course = pupil, course
        self.net = pupil.make()
        self.average = {name: weight.clone() for name, weight in self.net.state_dict().items()}
        self.optimizers = pupil.optimizers(self.net)
        self.generator = torch.Generator().manual_seed(seed)
        self.bank = Bank(TEXTURES, seed, course.blur)
        self.done = 0

    def steps(
        self, total: int, decay: int, until: int | None = None
    ) -> Iterator[tuple[Lesson, Triplet]]:
        """Take one step of *total* after the other, up to number *until*, the last by default."""
        course = self.course
        while self.done < (total if until is None else until):
            step = self.done
            triplet = triplets(
                self.bank.at(step),
                *course.crop(step),
                course.difficulty(step),
                self.generator,
                halfway=self.pupil.halfway,
            )
            lesson = self.pupil.learn(self.net, triplet, course.strictness(step))
            self._learn(lesson.loss, course.share_of_rate(step, total, decay))
            self._update_average(course.share_of_average(step, total, decay))
            self.done += 1
            yield lesson, triplet

    def _learn(self, loss: Tensor, share_of_rate: float) -> None:
        self.net.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        for optimizer, rate in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * share_of_rate
            optimizer.step()

    @torch.no_grad()
    def _update_average(self, share: float) -> None:
        for name, weight in self.net.state_dict().items():
            self.average[name].lerp_(weight, share)

    def save(self, folder: Path) -> None:
        """Write the state, and the average as a model, each whole or not at all."""
        state = {f"net.{name}": weight for name, weight in self.net.state_dict().items()}
        state |= {f"average.{name}": weight for name, weight in self.average.items()}
        for number, (optimizer, _) in enumerate(self.optimizers):
            for index, moments in optimizer.state_dict()["state"].items():
                state |= {f"moments{number}.{index}.{n}": value for n, value in moments.items()}
        state["generator"] = self.generator.get_state()
        dense = {name: tensor.contiguous() for name, tensor in state.items()}
        _write(dense, folder / "state.safetensors", {"done": str(self.done)})
        model = {name: weight.half().contiguous() for name, weight in self.average.items()}
        _write(model, folder / "model.safetensors", {"steps": str(self.done)})

    def begin(self, folder: Path) -> None:
        """Go on from the model in *folder* at the step it had reached, with fresh moments."""
        model = folder / "model.safetensors"
        with safe_open(model, "pt") as opened:
            self.done = int(opened.metadata()["steps"])
        self.pupil.put(self.net, load_file(model))
        for name, weight in self.net.state_dict().items():
            self.average[name].copy_(weight)

    def resume(self, file: Path) -> None:
        """Go on from the state in *file*."""
        with safe_open(file, "pt") as opened:
            self.done = int(opened.metadata()["done"])
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
        self.net.load_state_dict(_under("net.", state))
        for name, weight in _under("average.", state).items():
            self.average[name].copy_(weight)
        for number, (optimizer, _) in enumerate(self.optimizers):
            moments: dict[int, dict[str, Tensor]] = {}
            for name, value in _under(f"moments{number}.", state).items():
                index, field = name.split(".", 1)
                moments.setdefault(int(index), {})[field] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        self.generator.set_state(state["generator"])


def _under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}


def _write(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    part = path.with_name(path.name + ".part")
    save_file(tensors, part, metadata)
    part.replace(path)


def decibels(picture: Tensor, truth: Tensor) -> float:
    """Return the mean peak signal-to-noise ratio of [n, 3, height, width] in 0 to 1."""
    errors = ((picture - truth) ** 2).mean((1, 2, 3)) + 1e-8
    return float((-10 * torch.log10(errors)).mean())


def train(
    training: Training,
    folder: Path,
    *,
    steps: int,
    decay: int,
    minutes: float,
    start: Path | None = None,
    until: int | None = None,
) -> int:
    """Train until *steps* are done or *minutes* are over; return how many are done.

    With *until* it stops there, where the rate has not fallen yet: others are to go on from it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "state.safetensors").is_file():
        training.resume(folder / "state.safetensors")
    elif start is not None:
        training.begin(start)
    started = time.monotonic()
    gains: list[float] = []
    for lesson, triplet in training.steps(steps, decay, until):
        blend = triplet.first * (1 - triplet.time) + triplet.second * triplet.time
        gains.append(decibels(lesson.picture, triplet.middle) - decibels(blend, triplet.middle))
        if training.done % REPORT == 0:
            line = {
                "step": training.done,
                "loss": round(float(lesson.loss.detach()), 4),
                "gain_db": round(sum(gains) / len(gains), 2),
                "flow_error_px": round(lesson.flow_error, 3),
                "minutes": round((time.monotonic() - started) / 60, 1),
            }
            gains.clear()
            with (folder / "curve.jsonl").open("a") as curve:
                curve.write(json.dumps(line) + "\n")
        if training.done % SAVE == 0:
            training.save(folder)
        if time.monotonic() - started > minutes * 60:
            break
    training.save(folder)
    return training.done


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=PUPILS)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=12000)
    parser.add_argument(
        "--decay",
        type=int,
        default=3000,
        help="last steps, of a falling rate; with more than there are left, it begins lower",
    )
    parser.add_argument("--until", type=int, help="step to stop at, for others to go on from")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, metavar="FOLDER", help="a finished one")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # or a dying channel makes every step several times slower
    done = train(
        Training(PUPILS[chosen.network], COURSES[chosen.network], chosen.seed),
        chosen.out,
        steps=chosen.steps,
        decay=chosen.decay,
        minutes=chosen.minutes,
        start=chosen.start,
        until=chosen.until,
    )
    print(f"{done} steps done")


if __name__ == "__main__":
    main()
