"""Latents, step by step, from noise to video."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from wan_local.events import StepDone
from wan_local.tensors import Latents, PromptEmbeds


class Condition(Protocol):
    """What the loop needs of `stages.condition`."""

    def shown(self, latents: Latents, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the expert takes in, and the timestep of all of it or of each token."""
        ...


class Solver(Protocol):
    """What the loop needs of a diffusers scheduler; it carries its own history."""

    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, return_dict: bool) -> Any:  # noqa: FBT001 - diffusers' signature
        """Return (the sample at the next noise level,)."""
        ...


@dataclass(frozen=True, slots=True)
class Guidance:
    """What the picture should show, what it should not, and how hard to push."""

    prompt: PromptEmbeds
    negative: PromptEmbeds | None
    """Not looked at, and so not needed, when the scale is 1."""
    scale: float
    """Of classifier-free guidance (https://arxiv.org/abs/2207.12598); 1 means none."""
    condition: Condition
    """What is known of the picture, whatever the words say."""


@torch.inference_mode()
def denoise(
    transformer: nn.Module,
    latents: Latents,
    guidance: Guidance,
    *,
    timesteps: Tensor,
    solver: Solver,
    first_step: int,
    total_steps: int,
) -> Generator[StepDone, None, Latents]:
    """Walk *latents* down *timesteps* with one expert.

    *solver* is made once for both experts and handed from one to the other: a multistep method
    goes on with what it remembers.

    Yields:
        One StepDone a step, so that the caller can report progress or stop.

    Returns:
        The latents at the level after the last of *timesteps*.
    """
    for step, timestep in enumerate(timesteps, first_step):
        velocity = _guided_velocity(transformer, latents, timestep, guidance)
        latents = solver.step(velocity, timestep, latents, return_dict=False)[0]
        if latents.is_cuda:
            # Launches run ahead of the GPU: without this a step is reported before it is done.
            torch.cuda.synchronize(latents.device)
        yield StepDone(step, total_steps)
    return latents


def _guided_velocity(
    transformer: nn.Module, latents: Latents, timestep: Tensor, guidance: Guidance
) -> Tensor:
    shown, levels = guidance.condition.shown(latents, timestep.to(latents.device))
    towards = _velocity(transformer, shown, levels, guidance.prompt)
    if guidance.negative is None or guidance.scale == 1:
        return towards
    away = _velocity(transformer, shown, levels, guidance.negative)
    return away + guidance.scale * (towards - away)


def _velocity(
    transformer: nn.Module, shown: Tensor, timestep: Tensor, prompt: PromptEmbeds
) -> Tensor:
    output: Tensor = transformer(
        hidden_states=shown.to(prompt.dtype),
        timestep=timestep,
        encoder_hidden_states=prompt,
        return_dict=False,
    )[0]
    # Guidance subtracts two nearly equal tensors: in float32, as Wan's own code does.
    return output.float()
