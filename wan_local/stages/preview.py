"""Half-done latents -> a rough picture, for someone who wants to know early where it is going.

At each step the model says in which direction the video lies. Followed to the end at once, that is
an estimate of the clean latents, and costs nothing more: the step has computed it already. A
matrix of 3 columns, or the tiny decoder where its file is present, makes RGB of them.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from PIL import Image
from torch import Tensor

from wan_local.catalog import PREVIEW_DECODERS
from wan_local.events import Event, Previewed, StepDone, Warned
from wan_local.models.devices import compute_dtype
from wan_local.models.latent_colours import to_colours
from wan_local.models.taehv import TinyDecoder, load_tiny_decoder
from wan_local.tensors import TRAIN_TIMESTEPS, Latents

LONGEST_SIDE = 256
"""Pixels of a picture's longer side."""
QUALITY = 80
"""Of the JPEG. 256×256 of black and white noise, the worst there is, takes 56 KB at it."""
DOUBLINGS: Literal[2] = 2
"""Of the tiny decoder: 480p latents, 104×60, become 416×240, enough for the picture."""


class Solver(Protocol):
    """What denoising needs of a diffusers scheduler."""

    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, return_dict: bool) -> Any:  # noqa: FBT001 - diffusers' signature
        """Return (the sample at the next noise level,)."""
        ...


@dataclass(frozen=True, slots=True)
class _Step:
    latents: Latents
    velocity: Tensor
    timestep: Any


class WatchedSolver:
    """A solver that remembers what its last step started from."""

    def __init__(self, solver: Solver) -> None:
        self._solver = solver
        self._last: _Step | None = None

    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, return_dict: bool) -> Any:  # noqa: FBT001 - diffusers' signature
        """Return (the sample at the next noise level,), as the solver itself does."""
        self._last = _Step(sample, model_output, timestep)
        return self._solver.step(model_output, timestep, sample, return_dict)

    @torch.inference_mode()
    def estimate(self) -> Latents:
        """Return what the last step took the clean latents to be.

        Flow matching walks a straight line, latents = clean + level × velocity
        (https://arxiv.org/abs/2210.02747), so that one subtraction leads to its end.
        """
        if self._last is None:
            msg = "no step has been taken"
            raise RuntimeError(msg)
        level = float(self._last.timestep) / TRAIN_TIMESTEPS
        return self._last.latents - level * self._last.velocity


def open_decoder(weights_dir: Path, channels: int, device: torch.device) -> TinyDecoder | None:
    """Return the tiny decoder for latents of so many *channels*, or None if it is not here.

    Raises:
        BadCheckpoint: If its file is not what it should be.
    """
    spec = PREVIEW_DECODERS.get(channels)
    if spec is None or not (weights_dir / spec.file).is_file():
        return None
    decoder = load_tiny_decoder(
        weights_dir / spec.file, channels, in_time=False, doublings=DOUBLINGS
    )
    return decoder.to(device, compute_dtype(device))


def with_previews(
    steps: Generator[Event, None, Latents],
    solver: WatchedSolver,
    decoder: TinyDecoder | None,
    *,
    every: int,
) -> Generator[Event, None, Latents]:
    """Hand the events of *steps* on, with a picture after each *every*-th step.

    Args:
        steps: A denoising that uses *solver*.
        solver: Knows what the last step saw.
        decoder: Draws the pictures; None has the matrix draw them.
        every: Steps from one picture to the next.

    Returns:
        What *steps* returns.
    """
    with closing(steps):
        while True:
            try:
                event = next(steps)
            except StopIteration as end:
                latents: Latents = end.value
                return latents
            yield event
            if every and isinstance(event, StepDone) and event.step % every == 0:
                shown = _show(event, solver, decoder)
                every = every if isinstance(shown, Previewed) else 0
                yield shown


def _show(step: StepDone, solver: WatchedSolver, decoder: TinyDecoder | None) -> Event:
    try:
        jpeg = to_jpeg(draw(solver.estimate(), decoder))
    except torch.OutOfMemoryError:
        # The video itself may still fit: a picture of it must not be its end.
        return Warned("the device has no memory left for previews: there will be no more of them")
    return Previewed(step.step, step.steps, base64.b64encode(jpeg).decode())


@torch.inference_mode()
def draw(latents: Latents, decoder: TinyDecoder | None) -> Tensor:
    """Return the middle frame of *latents*, [height, width, 3] in 0 to 1."""
    middle = latents.shape[2] // 2
    if decoder is None:
        return to_colours(latents[0, :, middle])
    # With the frame before it, of which the decoder's blocks remember something.
    dtype = next(decoder.parameters()).dtype
    shown = latents[:, :, max(0, middle - 1) : middle + 1].to(dtype)
    *_, frame = decoder.frames(shown.unbind(2))
    return frame[0].permute(1, 2, 0).float()


def to_jpeg(picture: Tensor) -> bytes:
    """Return *picture*, [height, width, 3] in 0 to 1, scaled to its `LONGEST_SIDE`."""
    levels = (picture * 255).round().to(torch.uint8).cpu().numpy()
    image = Image.fromarray(levels)
    scale = LONGEST_SIDE / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    file = io.BytesIO()
    image.resize((width, height), Image.Resampling.BICUBIC).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
