"""Which noise levels to visit, with which solver, and which expert works at which of them.

To add a solver: write its maker and add a row to SOLVERS; its name also goes into `plan.Solver`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from torch import Tensor

from wan_local.errors import InvalidPlan
from wan_local.plan import SamplingSpec
from wan_local.plan import Solver as SolverName
from wan_local.tensors import TRAIN_TIMESTEPS


class Solver(Protocol):
    """A diffusers scheduler, which carries no types, set to the noise levels of one plan."""

    timesteps: Tensor
    """[steps], descending, 1000 to 0, on the CPU."""
    sigmas: Tensor
    """[steps + 1], the same as noise levels, 1 to 0, and the last of them 0."""

    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, return_dict: bool) -> Any:  # noqa: FBT001 - diffusers' signature
        """Return (the sample at the next noise level,); multistep solvers remember earlier ones."""
        ...


@dataclass(frozen=True, slots=True)
class Leg:
    """The consecutive steps that one expert takes."""

    expert: Literal["transformer", "transformer_2"]
    """Component name: high noise, low noise."""
    guidance: float
    timesteps: Tensor
    """[steps], descending; the noise levels to start from, 0 to 1000."""
    first_step: int
    """Counted from 1 over both experts."""


def unipc(spec: SamplingSpec, published: dict[str, Any]) -> Any:
    """Return Wan's own solver (https://arxiv.org/abs/2302.04867) with the plan's shift.

    The *published* configuration holds one shift for every request, 3.0, which is neither Wan's
    own default nor the client's wish.
    """
    solver: Any = UniPCMultistepScheduler.from_config(published, flow_shift=spec.shift)  # type: ignore[no-untyped-call]
    solver.set_timesteps(spec.steps)
    return solver


def euler(spec: SamplingSpec, _published: dict[str, Any]) -> Any:
    """Return Euler's method on the levels the four-step models were distilled at.

    Left to itself, diffusers' Euler shifts the smallest level before it spaces the others and then
    shifts them all again: 1000, 910, 717, 24 instead of 1000, 937.5, 833.3, 625 for four steps at
    shift 5 (huggingface/diffusers#13243). Unshifted levels are handed in, and shifted once.
    """
    solver: Any = FlowMatchEulerDiscreteScheduler(shift=spec.shift)  # type: ignore[no-untyped-call]
    solver.set_timesteps(sigmas=[1 - step / spec.steps for step in range(spec.steps)])
    return solver


DMD_TIMESTEPS = (1000, 757, 522)
"""What FastWan was distilled at, whatever the number of steps of its teacher."""


class Dmd:
    """Guesses the finished video at each step, then noises it afresh to the next level.

    For models made by distribution matching distillation (https://arxiv.org/abs/2405.14867); speaks
    as a diffusers scheduler does. A timestep's level is the nearest of the thousand shifted ones
    that the model was trained on, as in FastVideo's inference code.
    """

    def __init__(self, spec: SamplingSpec) -> None:
        trained = torch.arange(TRAIN_TIMESTEPS, 0, -1, dtype=torch.float32) / TRAIN_TIMESTEPS
        trained = spec.shift * trained / (1 + (spec.shift - 1) * trained)
        self.timesteps = torch.tensor(DMD_TIMESTEPS)
        levels = self.timesteps / TRAIN_TIMESTEPS
        nearest = (trained - levels[:, None]).abs().argmin(dim=1)
        self.sigmas = torch.cat([trained[nearest], torch.zeros(1)])
        # All noise of a seed is one stream, of which the first draw is where denoising starts.
        self._noise = torch.Generator("cpu").manual_seed(spec.seed)
        self._drawn = False
        self._index = 0

    def set_begin_index(self, begin_index: int) -> None:
        """Begin at step *begin_index*, counted from 0."""
        self._index = begin_index

    def step(
        self,
        model_output: Tensor,
        timestep: Any,  # noqa: ARG002 - diffusers' signature
        sample: Tensor,
        return_dict: bool,  # noqa: ARG002, FBT001 - diffusers' signature
    ) -> tuple[Tensor]:
        """Return (the sample at the next noise level,)."""
        clean = sample - self.sigmas[self._index] * model_output
        self._index += 1
        if self._index == len(self.timesteps):
            return (clean,)
        level = self.sigmas[self._index]
        return ((1 - level) * clean + level * self._draw(sample),)

    def _draw(self, like: Tensor) -> Tensor:
        if not self._drawn:
            torch.randn(like.shape, generator=self._noise)
            self._drawn = True
        return torch.randn(like.shape, generator=self._noise).to(like)


def dmd(spec: SamplingSpec, _published: dict[str, Any]) -> Any:
    """Return the solver of the models that were distilled to three steps.

    Raises:
        InvalidPlan: If the plan asks for another number of them.
    """
    if spec.steps != len(DMD_TIMESTEPS):
        msg = f"a model distilled by DMD takes {len(DMD_TIMESTEPS)} steps, not {spec.steps}"
        raise InvalidPlan(msg)
    return Dmd(spec)


SOLVERS: dict[SolverName, Callable[[SamplingSpec, dict[str, Any]], Any]] = {
    "unipc": unipc,
    "euler": euler,
    "dmd": dmd,
}


def schedule(spec: SamplingSpec, published: dict[str, Any], *, first: int = 0) -> Solver:
    """Return a fresh solver set to the plan's noise levels, to begin at step *first* of them.

    The time shift is the one of Esser et al. 2024 (https://arxiv.org/abs/2403.03206). *published*
    is the checkpoint's `scheduler_config.json`.
    """
    solver = SOLVERS[spec.solver](spec, published)
    # Said here so that no step has to look its own index up on the device.
    solver.set_begin_index(first)
    made: Solver = solver
    return made


def split_by_expert(timesteps: Tensor, spec: SamplingSpec) -> list[Leg]:
    """Cut *timesteps* where the low-noise expert takes over; an expert without steps is left out.

    A step belongs to the expert of the level it starts from, and the boundary's own level to the
    high-noise one. Without a boundary there is one expert, which takes them all.
    """
    if spec.boundary is None:
        return [Leg("transformer", spec.guidance_high, timesteps, 1)]
    high = int(torch.count_nonzero(timesteps >= spec.boundary * TRAIN_TIMESTEPS))
    legs = [
        Leg("transformer", spec.guidance_high, timesteps[:high], 1),
        Leg("transformer_2", spec.guidance_low, timesteps[high:], high + 1),
    ]
    return [leg for leg in legs if len(leg.timesteps)]
