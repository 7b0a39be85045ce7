"""Trains small interpolation networks from nothing, on synthetic motion only.

    python weights/train/interpolators.py rife OUT --steps 12000 --minutes 60

One thread, one seed: the same steps give the same bits on the same machine, however often the run
was interrupted. It goes on from OUT/state.safetensors if that is there. OUT/curve.jsonl has a line
for every hundred steps; OUT/model.safetensors, fp16, is the average of the last weights.

What made it learn at all: the true flow as a second target, motion that grows from a pixel and a
half, and small crops first. To train another network, add a row to PUPILS.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, l1_loss

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from wan_local.interpolation.rife import Rife, RifeLayout
from weights.train.motion import Difficulty, Triplet, textures, triplets

TEXTURES = 96
"""Textures to draw scenes from; every fourth step one of them is drawn anew."""
REPORT, SAVE = 100, 250
"""Steps from one line of the curve, and one saved state, to the next."""


@dataclass(frozen=True, slots=True)
class Course:
    """The plan of a training run, by steps: only the last phase depends on how many there are."""

    rate: float = 1e-3
    warmup: int = 200
    small_crops: int = 6000
    """Steps on crops of 64 pixels; 128 after that, as many pixels a step in all."""
    full_motion: int = 6000
    """Step from which on motion is as large as it gets."""
    calm: int = 7250
    """Step from which on many scenes are nearly still, as most of real video is."""
    strict_flow: int = 4000
    """Steps in which a wrong flow counts in full; less after that, when pictures matter more."""
    batch: int = 16

    def learning_rate(self, step: int, steps: int, decay: int) -> float:
        """Constant after the warm-up, and falling over the last *decay* of *steps*."""
        late = min(1.0, max(0.0, (step - (steps - decay)) / decay))
        fall = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * late))
        return self.rate * min(1.0, (step + 1) / self.warmup) * fall

    def crop(self, step: int) -> tuple[int, int]:
        """Return how many crops of how many pixels."""
        small = step < self.small_crops
        return (self.batch, 64) if small else (self.batch // 4, 128)

    def difficulty(self, step: int) -> Difficulty:
        """Return how large the motion is."""
        start = min(1.0, step / (self.full_motion / 8))
        rest = min(1.0, max(0.0, (step / self.full_motion - 0.1) / 0.9))
        calm = 0.7 if step >= self.calm else 0.0
        return Difficulty(1.5 + 2 * start + 24 * rest, 0.03 + 0.09 * rest, calm)

    def flow_weight(self, step: int) -> float:
        """Return how much the flow's error counts beside the picture's."""
        return 1.0 if step < self.strict_flow else 0.3


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one step showed."""

    loss: Tensor
    picture: Tensor
    """[n, 3, size, size]: the frame between, as the network has it."""
    flow_error: float
    """Pixels, mean."""


@dataclass(frozen=True, slots=True)
class Pupil:
    """A network that can be trained."""

    make: Callable[[], nn.Module]
    learn: Callable[[Any, Triplet, float], Lesson]
    """Loss of (network, triplet, weight of the flow)."""
    halfway: bool
    """Whether it is only shown frames from the middle."""
    course: Course


def small_rife() -> Rife:
    """Return a RIFE 4.6 of a quarter of the width, its blocks nearly silent at first."""
    net = Rife(RifeLayout((48, 40, 32, 24)))
    for name, weight in net.named_parameters():
        if name.endswith("beta"):
            nn.init.constant_(weight, 0.3)
        elif name.endswith("lastconv.0.weight"):
            nn.init.xavier_uniform_(weight, 0.3)
        elif name.endswith("lastconv.0.bias"):
            nn.init.zeros_(weight)
    return net.to(memory_format=torch.channels_last)


def teach_rife(net: Rife, triplet: Triplet, flow_weight: float) -> Lesson:
    """Return what every block got wrong, later blocks counting more."""
    plane = triplet.time.expand_as(triplet.first[:, :1])
    velocity = triplet.velocity[1]
    truth = torch.cat((-triplet.time * velocity, (1 - triplet.time) * velocity), 1)
    estimates = list(net.refine(net.see(triplet.first), net.see(triplet.second), plane))
    loss = torch.zeros(())
    for index, estimate in enumerate(reversed(estimates)):
        wrong = (estimate.flow - truth).abs().clamp(max=30).mean()
        seen = pyramid_loss(estimate.blend(), triplet.middle)
        loss = loss + 0.8**index * (seen + flow_weight * wrong)
    error = (estimates[-1].flow - truth).detach().unflatten(1, (2, 2)).norm(dim=2).mean()
    return Lesson(loss, estimates[-1].blend().detach(), float(error))


def pyramid_loss(picture: Tensor, truth: Tensor, levels: int = 4) -> Tensor:
    """Compare detail of every size, coarse detail counting more."""
    loss = torch.zeros(())
    for level in range(levels - 1):
        smaller, smaller_truth = avg_pool2d(picture, 2), avg_pool2d(truth, 2)
        detail, detail_truth = (
            whole - interpolate(half, scale_factor=2, mode="bilinear")
            for whole, half in ((picture, smaller), (truth, smaller_truth))
        )
        loss = loss + 2**level * l1_loss(detail, detail_truth)
        picture, truth = smaller, smaller_truth
    return loss + 2 ** (levels - 1) * l1_loss(picture, truth)


PUPILS = {
    "rife": Pupil(small_rife, teach_rife, halfway=False, course=Course()),
}


class Training:
    """One run: the network, its average, and everything the next step depends on."""

    def __init__(self, pupil: Pupil, seed: int) -> None:
        torch.manual_seed(seed)
        self.pupil = pupil
        self.net = pupil.make()
        self.average = {name: weight.clone() for name, weight in self.net.state_dict().items()}
        self.optimizer = torch.optim.AdamW(
            self.net.parameters(), lr=0.0, weight_decay=1e-4, betas=(0.9, 0.98)
        )
        self.generator = torch.Generator().manual_seed(seed)
        self.bank = textures(TEXTURES, self.generator)
        self.done = 0

    def steps(self, until: int, decay: int) -> Iterator[tuple[Lesson, Triplet]]:
        """Take one step after the other, up to number *until*."""
        course = self.pupil.course
        while self.done < until:
            step = self.done
            if step % 4 == 3:
                self.bank[step // 4 % TEXTURES] = textures(1, self.generator)[0]
            triplet = triplets(
                self.bank,
                *course.crop(step),
                course.difficulty(step),
                self.generator,
                halfway=self.pupil.halfway,
            )
            lesson = self.pupil.learn(self.net, triplet, course.flow_weight(step))
            for group in self.optimizer.param_groups:
                group["lr"] = course.learning_rate(step, until, decay)
            self.optimizer.zero_grad(set_to_none=True)
            lesson.loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
            self.optimizer.step()
            # Early, and while the rate falls, the weights soon leave what they were.
            early_or_late = step < 2000 or step >= until - decay
            self._update_average(0.01 if early_or_late else 0.001)
            self.done += 1
            yield lesson, triplet

    @torch.no_grad()
    def _update_average(self, share: float) -> None:
        for name, weight in self.net.state_dict().items():
            self.average[name].lerp_(weight, share)

    def save(self, folder: Path) -> None:
        """Write the state, and the average as a model, each whole or not at all."""
        state = {f"net.{name}": weight for name, weight in self.net.state_dict().items()}
        state |= {f"average.{name}": weight for name, weight in self.average.items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            state |= {f"moments.{index}.{name}": value for name, value in moments.items()}
        state["bank"], state["generator"] = self.bank, self.generator.get_state()
        dense = {name: tensor.contiguous() for name, tensor in state.items()}
        _write(dense, folder / "state.safetensors", {"done": str(self.done)})
        model = {name: weight.half().contiguous() for name, weight in self.average.items()}
        _write(model, folder / "model.safetensors", {"steps": str(self.done)})

    def resume(self, file: Path) -> None:
        """Go on from the state in *file*."""
        with safe_open(file, "pt") as opened:
            self.done = int(opened.metadata()["done"])
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
        self.net.load_state_dict(_under("net.", state))
        for name, weight in _under("average.", state).items():
            self.average[name].copy_(weight)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _under("moments.", state).items():
            index, field = name.split(".", 1)
            moments.setdefault(int(index), {})[field] = value
        optimizer = self.optimizer.state_dict()
        self.optimizer.load_state_dict({**optimizer, "state": moments})
        self.bank = state["bank"]
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


def train(pupil: Pupil, folder: Path, *, steps: int, decay: int, minutes: float, seed: int) -> int:
    """Train until *steps* are done or *minutes* are over; return how many are done."""
    folder.mkdir(parents=True, exist_ok=True)
    training = Training(pupil, seed)
    if (folder / "state.safetensors").is_file():
        training.resume(folder / "state.safetensors")
    started = time.monotonic()
    gains: list[float] = []
    for lesson, triplet in training.steps(steps, decay):
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
    parser.add_argument("--decay", type=int, default=3000, help="last steps, of a falling rate")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # or a dying channel makes every step several times slower
    done = train(
        PUPILS[chosen.network],
        chosen.out,
        steps=chosen.steps,
        decay=chosen.decay,
        minutes=chosen.minutes,
        seed=chosen.seed,
    )
    print(f"{done} steps done")


if __name__ == "__main__":
    main()
