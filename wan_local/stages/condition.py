"""What an expert is shown beside the noise: nothing, or a picture in one of two ways.

To add a way: a class with `shown` and `settled`, a row in WAYS for the kind of model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from wan_local.catalog import Kind
from wan_local.geometry import PATCH, TEMPORAL_STRIDE, Size, generated_frames
from wan_local.plan import VideoPlan
from wan_local.tensors import Latents, Pixels

Picture = NDArray[np.uint8]
"""[height, width, 3]."""


class Condition(Protocol):
    """How latents and what is known of the video meet."""

    def shown(self, latents: Latents, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """Return what an expert takes in, and the timestep of all of it or of each token."""
        ...

    def settled(self, latents: Latents) -> Latents:
        """Return the finished latents with what was known from the beginning put in place."""
        ...


@dataclass(frozen=True, slots=True)
class WordsAlone:
    """Nothing is known: the expert sees the noisy latents, all at one timestep.

    Also for a model that takes a timestep for each token: equal ones give the same result, and one
    row of modulation in the place of one for each token.
    """

    def shown(self, latents: Latents, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """Return *latents* as they are."""
        return latents, timestep.expand(1)

    def settled(self, latents: Latents) -> Latents:
        """Return *latents* as they are."""
        return latents


@dataclass(frozen=True, slots=True)
class BesideTheNoise:
    """A14B: more channels, which say what is known of each frame (4) and how it looks (16)."""

    channels: Tensor
    """[1, 20, latent frames, height / 8, width / 8]."""

    def shown(self, latents: Latents, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """Return *latents* with the other channels after them."""
        return torch.cat([latents, self.channels], dim=1), timestep.expand(1)

    def settled(self, latents: Latents) -> Latents:
        """Return *latents* as they are: the first frame, too, is the expert's own work."""
        return latents


@dataclass(frozen=True, slots=True)
class InTheFirstFrame:
    """5B: the picture is the first latent frame, and its tokens are at timestep 0."""

    picture: Latents
    """Of one latent frame."""

    def shown(self, latents: Latents, timestep: Tensor) -> tuple[Tensor, Tensor]:
        """Return *latents* with the picture in place, and a timestep for each token."""
        frames, height, width = latents.shape[2:]
        tokens = (height // PATCH) * (width // PATCH)
        levels = timestep.float().repeat(frames * tokens)
        levels[:tokens] = 0
        return self.settled(latents), levels.unsqueeze(0)

    def settled(self, latents: Latents) -> Latents:
        """Return *latents* with the picture in place."""
        return torch.cat([self.picture, latents[:, :, 1:]], dim=2)


def first_to_last(first: Pixels, last: Pixels | None, plan: VideoPlan) -> Iterator[Pixels]:
    """Yield every frame that the VAE will make: grey wherever nothing is known.

    A last picture stands in the last frame that the client gets, and in the surplus behind it.
    """
    grey = torch.zeros_like(first)
    for frame in range(generated_frames(plan.num_frames)):
        known = first if frame == 0 else last if frame >= plan.num_frames - 1 else None
        yield grey if known is None else known


def beside_the_noise(encoded: Latents, plan: VideoPlan) -> Condition:
    """Put before *encoded* which of the four frames of each latent frame are known.

    The first latent frame holds one frame, which is said four times.
    """
    known = torch.zeros(TEMPORAL_STRIDE * encoded.shape[2])
    known[:TEMPORAL_STRIDE] = 1
    if plan.last_frame:
        known[plan.num_frames - 1 + TEMPORAL_STRIDE - 1 :] = 1
    mask = known.view(1, -1, TEMPORAL_STRIDE, 1, 1).transpose(1, 2).to(encoded)
    return BesideTheNoise(torch.cat([mask.expand(-1, -1, -1, *encoded.shape[3:]), encoded], dim=1))


def first_alone(first: Pixels, _last: Pixels | None, _plan: VideoPlan) -> Iterator[Pixels]:
    """Yield the one frame that is known."""
    yield first


def in_the_first_frame(encoded: Latents, _plan: VideoPlan) -> Condition:
    """Put *encoded* in the place of the first latent frame."""
    return InTheFirstFrame(encoded)


@dataclass(frozen=True, slots=True)
class Way:
    """How a kind of model is shown pictures."""

    frames: Callable[[Pixels, Pixels | None, VideoPlan], Iterator[Pixels]]
    """First picture and last -> the frames to encode."""
    condition: Callable[[Latents, VideoPlan], Condition]
    """Their latents -> what the experts are shown."""


WAYS: dict[Kind, Way] = {
    "i2v": Way(first_to_last, beside_the_noise),
    "ti2v": Way(first_alone, in_the_first_frame),
}


def fit(picture: Picture, size: Size) -> Pixels:
    """Scale *picture* to cover *size*, cut the middle out of it, and return one frame.

    Cut and scaled in one: in two steps, as in diffusers, sides are rounded to whole pixels between
    them, which changes the picture's proportions a little.
    """
    image: Any = Image.fromarray(picture)
    if image.size != (size.width, size.height):
        scale = min(image.width / size.width, image.height / size.height)
        left = (image.width - size.width * scale) / 2
        top = (image.height - size.height * scale) / 2
        box = (left, top, image.width - left, image.height - top)
        image = image.resize((size.width, size.height), Image.Resampling.LANCZOS, box)
    levels = torch.from_numpy(np.array(image, dtype=np.float32) / 255.0)
    return (2.0 * levels - 1.0).permute(2, 0, 1)[None, :, None]
