"""The tiny decoder of previews: Wan's latents -> rough frames, a hundredth of the VAE's work.

The architecture and the names of its tensors are those of TAEHV (https://github.com/madebyollin/
taehv, MIT): `taew2_1` reads the 16 channels of Wan 2.1's VAE, which the A14B models use, and
`taew2_2` the 48 of Wan 2.2's. Which one a file is, is read from its shapes.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from wan_local.errors import BadCheckpoint

WIDTHS = (256, 128, 64, 64)
"""Channels before, between and after the three levels."""
DOUBLES_TIME = (False, True, True)
"""Which of the levels makes two time steps of one."""
_BLOCKS = 3
"""Memory blocks in a level."""
_LEVEL = 6
"""Places a level takes in the published numbering: its blocks, the upscaling that has no weights,
the split in time, the convolution."""
_FIRST, _LAST = 1, 22
"""Places of the convolutions that read latents and write pixels; what has no weights counts."""


class MemoryBlock(nn.Module):
    """A residual block that also sees its own input of the time step before."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.ModuleDict(
            {
                "0": _conv(2 * channels, channels),
                "2": _conv(channels, channels),
                "4": _conv(channels, channels),
            }
        )

    def forward(self, now: Tensor, before: Tensor) -> Tensor:
        """Return the block's output for *now*."""
        hidden = functional.relu(self.conv["0"](torch.cat((now, before), 1)))
        hidden = self.conv["4"](functional.relu(self.conv["2"](hidden)))
        return functional.relu(hidden + now)


class TimeSplit(nn.Module):
    """One time step in, *times* steps out, which lie side by side in the channels."""

    def __init__(self, channels: int, times: int) -> None:
        super().__init__()
        self.times = times
        self.conv = nn.Conv2d(channels, channels * times, 1, bias=False)

    def forward(self, now: Tensor) -> tuple[Tensor, ...]:
        """Return the steps, earliest first."""
        steps: tuple[Tensor, ...] = self.conv(now).chunk(self.times, 1)
        return steps


class TinyDecoder(nn.Module):
    """TAEHV's decoder, base variant.

    Args:
        channels: Of the latents.
        patch: Side of the square of pixels that one place of the last layer writes.
        in_time: Whether to make four frames of each latent one, as the VAE does; without, one.
        doublings: How many of the three levels double the sides; fewer are cheaper and smaller.
    """

    def __init__(
        self,
        channels: int,
        patch: int,
        *,
        in_time: bool = True,
        doublings: Literal[0, 1, 2, 3] = 3,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.scale = patch * 2**doublings
        """A frame's side ÷ the latents' side."""
        self.warm_up = 3 if in_time else 0
        """Frames at the beginning that the VAE does not have, and that are dropped."""
        self._patch = patch
        self._doublings = doublings
        parts: dict[str, nn.Module] = {str(_FIRST): _conv(channels, WIDTHS[0])}
        for level, doubles in enumerate(DOUBLES_TIME):
            place, width = _place(level), WIDTHS[level]
            for block in range(_BLOCKS):
                parts[str(place + block)] = MemoryBlock(width)
            parts[str(place + 4)] = TimeSplit(width, 2 if doubles and in_time else 1)
            parts[str(place + 5)] = _conv(width, WIDTHS[level + 1], bias=False)
        parts[str(_LAST)] = _conv(WIDTHS[-1], 3 * patch**2)
        self.decoder = nn.ModuleDict(parts)

    @torch.inference_mode()
    def frames(self, latents: Iterable[Tensor]) -> Generator[Tensor, None, None]:
        """Decode one latent frame after another.

        Args:
            latents: [1, channels, height, width] each, as the diffusion model has them: without the
                VAE's mean and scale.

        Yields:
            Frames [1, 3, height × scale, width × scale] in 0 to 1; 4k+1 of them for k+1 latent
            frames, or with `in_time` off as many as there are latent frames.
        """
        # Kept here and not on the module: an abandoned stream leaves nothing for the next one.
        memory: dict[int, Tensor] = {}
        skipped = 0
        for latent in latents:
            # Wan's latents stay within ±3 but for outliers, which are bent back softly.
            hidden = torch.tanh(latent / 3) * 3
            hidden = functional.relu(self.decoder[str(_FIRST)](hidden))
            for frame in self._level(0, hidden, memory):
                if skipped < self.warm_up:
                    skipped += 1
                else:
                    yield frame

    def _level(
        self, level: int, hidden: Tensor, memory: dict[int, Tensor]
    ) -> Generator[Tensor, None, None]:
        """Carry one time step through *level* and those after it."""
        if level == len(DOUBLES_TIME):
            pixels = self.decoder[str(_LAST)](functional.relu(hidden))
            yield functional.pixel_shuffle(pixels, self._patch).clamp(0, 1)
            return
        place = _place(level)
        for number in range(place, place + _BLOCKS):
            now = hidden
            hidden = self.decoder[str(number)](now, memory.get(number, torch.zeros_like(now)))
            memory[number] = now
        if level < self._doublings:
            hidden = functional.interpolate(hidden, scale_factor=2)
        for step in self.decoder[str(place + 4)](hidden):
            yield from self._level(level + 1, self.decoder[str(place + 5)](step), memory)


def load_tiny_decoder(
    path: Path,
    channels: int,
    *,
    in_time: bool = True,
    doublings: Literal[0, 1, 2, 3] = 3,
) -> TinyDecoder:
    """Read a published `taew2_1` or `taew2_2` file; its encoder, if it is there, is left alone.

    Raises:
        BadCheckpoint: If it is neither, or is not for latents of so many *channels*.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        msg = f"{path} cannot be read: {error}"
        raise BadCheckpoint(msg) from error
    patch = _patch_of(path, tensors)
    # On the meta device nothing is drawn at random that the file replaces at once.
    with torch.device("meta"):
        decoder = TinyDecoder(channels, patch, in_time=in_time, doublings=doublings)
        published = TinyDecoder(channels, patch).state_dict()
    state = {}
    for name, own in decoder.state_dict().items():
        tensor = tensors.get(name)
        if tensor is None or tensor.shape != published[name].shape:
            found = "is not in it" if tensor is None else f"has the shape {list(tensor.shape)}"
            wanted = list(published[name].shape)
            msg = f"{path} is not a TAEHV for {channels} channels: {name}, {wanted}, {found}"
            raise BadCheckpoint(msg)
        # A split that is switched off keeps the latest of its steps.
        state[name] = tensor[-own.shape[0] :]
    decoder.load_state_dict(state, assign=True)
    return decoder.eval().requires_grad_(requires_grad=False)


def _patch_of(path: Path, tensors: dict[str, Tensor]) -> int:
    bias = tensors.get(f"decoder.{_LAST}.bias")
    patch = math.isqrt(len(bias) // 3) if bias is not None and bias.ndim == 1 else 0
    if bias is None or patch < 1 or len(bias) != 3 * patch**2:
        msg = f"{path} is not a TAEHV: its last layer, decoder.{_LAST}.bias, writes no RGB"
        raise BadCheckpoint(msg)
    return patch


def _place(level: int) -> int:
    return _FIRST + 2 + level * _LEVEL


def _conv(channels: int, out: int, *, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 3, padding=1, bias=bias)
