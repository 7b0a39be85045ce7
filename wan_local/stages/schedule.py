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

from wan_local.plan import SamplingSpec
from wan_local.plan import Solver as SolverName

TRAIN_TIMESTEPS = 1000
"""Timesteps are noise levels times this."""


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


SOLVERS: dict[SolverName, Callable[[SamplingSpec, dict[str, Any]], Any]] = {
    "unipc": unipc,
    "euler": euler,
}


def schedule(spec: SamplingSpec, published: dict[str, Any]) -> Solver:
    """Return a fresh solver set to the plan's noise levels.

    The time shift is the one of Esser et al. 2024 (https://arxiv.org/abs/2403.03206). *published*
    is the checkpoint's `scheduler_config.json`.
    """
    solver = SOLVERS[spec.solver](spec, published)
    # Said here so that no step has to look its own index up on the device.
    solver.set_begin_index(0)
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
