"""A VAE's decoder in tiles, for cards that do not hold a whole frame's widest layers.

Not blended: everything after the first up block is local (convolutions, and norms over channels),
so a tile that is computed with as much of its surroundings as its layers can see is, but for the
rounding of another kernel, that part of the whole. There are no seams to hide.

What needs the whole frame, the attention in the middle block, comes before and is small.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d
from torch import Tensor, nn


@dataclass(slots=True)
class TiledDecoder:
    """Decodes one latent frame after another, *tiles* × *tiles* pieces each.

    Each piece has its own memory of the frames before. Where the device has memory of its own,
    that waits in the host's while other pieces are decoded: it is as large as what it remembers.
    """

    decoder: Any
    """Diffusers' WanDecoder3d, which carries no types."""
    tiles: int
    _trunk_memory: list[Any] = field(default_factory=list)
    _memories: list[list[Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        rest = [*self.decoder.up_blocks[1:], self.decoder.conv_out]
        branch = sum(_convolutions(part) for part in rest)
        self._trunk_memory = [None] * (_convolutions(self.decoder) - branch)
        self._memories = [[None] * branch for _ in range(self.tiles**2)]

    def __call__(self, chunk: Tensor, *, first: bool) -> Tensor:
        """Return what the whole decoder makes of *chunk*, the *first* of the video or a later."""
        hidden = self._trunk(chunk, first=first)
        halo = reach(self.decoder)
        whole: Tensor | None = None
        pieces = _pieces(hidden.shape[3], hidden.shape[4], self.tiles)
        for memory, (rows, columns) in zip(self._memories, pieces, strict=True):
            # As far as the layers see, and no further than the frame.
            top, left = max(0, rows.start - halo), max(0, columns.start - halo)
            seen = hidden[:, :, :, top : rows.stop + halo, left : columns.stop + halo]
            out = self._branch(seen, memory, first=first)
            scale = out.shape[3] // seen.shape[3]
            if whole is None:
                height, width = hidden.shape[3] * scale, hidden.shape[4] * scale
                whole = out.new_empty(*out.shape[:3], height, width)
            whole[:, :, :, _scaled(rows, scale), _scaled(columns, scale)] = out[
                :, :, :, _scaled(rows, scale, top), _scaled(columns, scale, left)
            ]
        assert whole is not None  # noqa: S101 - there is at least one tile
        return whole

    def _trunk(self, chunk: Tensor, *, first: bool) -> Tensor:
        memory = self._trunk_memory
        hidden = _remembering(self.decoder.conv_in, chunk, memory, 0)
        index = [1]
        hidden = self.decoder.mid_block(hidden, feat_cache=memory, feat_idx=index)
        trunk: Tensor = self.decoder.up_blocks[0](
            hidden, feat_cache=memory, feat_idx=index, first_chunk=first
        )
        return trunk

    def _branch(self, hidden: Tensor, memory: list[Any], *, first: bool) -> Tensor:
        _move(memory, hidden.device)
        index = [0]
        for block in self.decoder.up_blocks[1:]:
            hidden = block(hidden, feat_cache=memory, feat_idx=index, first_chunk=first)
        hidden = self.decoder.nonlinearity(self.decoder.norm_out(hidden))
        pixels = _remembering(self.decoder.conv_out, hidden, memory, index[0])
        _move(memory, torch.device("cpu"))
        return pixels


def reach(decoder: Any) -> int:
    """Return how many pixels of the first up block's output one pixel of the picture depends on.

    To each side: one for every convolution of 3×3, halved with every doubling of the size.
    """
    pixels, scale = 0.0, 1
    for block in decoder.up_blocks[1:]:
        pixels += 2 * len(block.resnets) / scale
        if getattr(block, "upsamplers", None) or getattr(block, "upsampler", None):
            scale *= 2
            pixels += 1 / scale
    return math.ceil(pixels + 1 / scale)


def _convolutions(part: nn.Module) -> int:
    return sum(isinstance(inner, WanCausalConv3d) for inner in part.modules())


def _pieces(height: int, width: int, tiles: int) -> Iterator[tuple[slice, slice]]:
    for row in range(tiles):
        for column in range(tiles):
            yield _share(height, row, tiles), _share(width, column, tiles)


def _share(length: int, number: int, tiles: int) -> slice:
    return slice(length * number // tiles, length * (number + 1) // tiles)


def _scaled(part: slice, scale: int, origin: int = 0) -> slice:
    return slice((part.start - origin) * scale, (part.stop - origin) * scale)


def _move(memory: list[Any], device: torch.device) -> None:
    """Move what a tile remembers; a mark that nothing is remembered yet stays where it is."""
    for index, kept in enumerate(memory):
        if isinstance(kept, Tensor):
            memory[index] = kept.to(device)


def _remembering(convolution: nn.Module, x: Tensor, memory: list[Any], index: int) -> Tensor:
    """Run *convolution* with the last two frames it saw, as the decoder does with its own."""
    last = x[:, :, -2:].clone()
    if last.shape[2] < 2 and memory[index] is not None:
        last = torch.cat([memory[index][:, :, -1:], last], dim=2)
    out: Tensor = convolution(x, memory[index])
    memory[index] = last
    return out
