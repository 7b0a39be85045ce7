"""One training run: its clock, its optimiser, its checkpoints and its curve."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from weights.train.muon import Muon, learned_by_muon

SAVE_EVERY = 120.0
"""Seconds between two checkpoints."""
SAY_EVERY = 20
"""Steps that one line of the curve sums up."""


class Course:
    """Carries a model through its training; iterate over it, and call `learn` each time.

    The learning rate warms up over 100 steps and falls to a twentieth along a cosine, by the clock
    and not by steps: a slow machine ends in time, with less learned. Matrices and convolutions are
    learned by Muon at *matrix_rate*, all else by AdamW at *rate*. What is kept is an average of the
    recent weights. A run that was stopped goes on from its last checkpoint.
    """

    def __init__(
        self,
        model: nn.Module,
        out: Path,
        *,
        minutes: float,
        rate: float,
        seed: int,
        matrix_rate: float = 0.02,
    ) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.generator = torch.Generator().manual_seed(seed)
        self.step = 0
        self._model = model
        self._out = out
        self._seconds = minutes * 60
        self._spent = 0.0
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        matrices = learned_by_muon(model)
        others = [p for p in self._parameters if not any(p is m for m in matrices)]
        self._optimisers: list[tuple[torch.optim.Optimizer, float]] = []
        if matrices:
            self._optimisers.append((Muon(matrices, matrix_rate), matrix_rate))
        if others:
            adam = torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
            self._optimisers.append((adam, rate))
        self._average = {
            name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad
        }
        self._noted: dict[str, list[float]] = {}
        self._resume()

    @property
    def done(self) -> float:
        """Share of the time that is over, 0 to 1."""
        return min(1.0, self._spent / self._seconds)

    def __iter__(self) -> Iterator[int]:
        started = last = saved = time.perf_counter()
        while self._spent < self._seconds:
            yield self.step
            self.step += 1
            now = time.perf_counter()
            self._spent += now - last
            last = now
            if now - saved > SAVE_EVERY:
                self._save()
                saved = now
        self._save()
        print(f"{self._out}: {self.step} steps in {(last - started) / 60:.1f} min", flush=True)

    def learn(self, loss: Tensor, **figures: float) -> None:
        """Take one step down *loss*; *figures* go into the curve."""
        fall = 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * self.done))
        for optimiser, rate in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1.0, (self.step + 1) / 100) * fall
        self._model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self._parameters, 1.0)
        if torch.isfinite(norm):
            for optimiser, _ in self._optimisers:
                optimiser.step()
        self._remember()
        self._note(loss=float(loss.detach()), gradient=float(norm), **figures)

    def average(self) -> Any:
        """Return a copy of the model with the averaged weights."""
        model = copy.deepcopy(self._model)
        model.load_state_dict(self._average, strict=False)
        return model.eval().requires_grad_(requires_grad=False)

    def _remember(self) -> None:
        keep = min(0.998, 1 - 1 / (self.step / 10 + 1))
        with torch.no_grad():
            for name, parameter in self._model.named_parameters():
                if name in self._average:
                    self._average[name].lerp_(parameter, 1 - keep)

    def _note(self, **figures: float) -> None:
        for name, value in figures.items():
            self._noted.setdefault(name, []).append(value)
        if (self.step + 1) % SAY_EVERY == 0:
            means = {name: round(sum(v) / len(v), 5) for name, v in self._noted.items()}
            line = {"step": self.step + 1, "minutes": round(self._spent / 60, 2), **means}
            with (self._out / "curve.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
            self._noted = {}

    def _save(self) -> None:
        tensors = {f"model.{name}": p.detach() for name, p in self._model.named_parameters()}
        tensors |= {f"average.{name}": value for name, value in self._average.items()}
        for index, parameter in enumerate(self._parameters):
            for optimiser, _ in self._optimisers:
                for name, value in optimiser.state.get(parameter, {}).items():
                    tensors[f"optimiser.{index}.{name}"] = value
        tensors["generator"] = self.generator.get_state()
        part = self._out / "last.part"
        state = {"step": str(self.step), "spent": str(self._spent)}
        save_file({name: t.contiguous() for name, t in tensors.items()}, part, metadata=state)
        part.replace(self._out / "last.safetensors")
        (self._out / "last.json").write_text(json.dumps(state))

    def _resume(self) -> None:
        if not (self._out / "last.json").exists():
            return
        state = json.loads((self._out / "last.json").read_text())
        tensors = load_file(self._out / "last.safetensors")
        self.step, self._spent = int(state["step"]), float(state["spent"])
        self.generator.set_state(tensors.pop("generator"))
        with torch.no_grad():
            for name, parameter in self._model.named_parameters():
                parameter.copy_(tensors[f"model.{name}"])
            for name, value in self._average.items():
                value.copy_(tensors[f"average.{name}"])
        for index, parameter in enumerate(self._parameters):
            head = f"optimiser.{index}."
            found = {n[len(head) :]: t for n, t in tensors.items() if n.startswith(head)}
            for optimiser, _ in self._optimisers:
                if found and any(parameter is p for p in optimiser.param_groups[0]["params"]):
                    optimiser.state[parameter] = found
