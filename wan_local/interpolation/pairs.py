"""One network, lent to pairs of frames: padding, memory, and what is known of a frame already."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

log = logging.getLogger(__name__)

OVERLAP = 64
"""Pixels that a tile reaches into its neighbour, on each side of the seam."""
HALVINGS = 2
"""How often a tile is halved before the device is said to be too small."""

Region = tuple[slice, slice]


class Network(Protocol):
    """What RIFE and FILM have in common."""

    multiple: int
    """Pixels that a side must be a multiple of."""

    def see(self, frame: Tensor) -> Any:
        """Work out what both pairs of a frame need of it."""
        ...

    def between(self, first: Any, second: Any, times: Sequence[float]) -> Iterator[Tensor]:
        """Yield the frame at each of *times*."""
        ...

    def parameters(self) -> Iterator[Tensor]:
        """The weights, which know the dtype and the device."""
        ...


class Interpolator:
    """Makes frames between two others.

    When the device runs out of memory, frames are cut into two overlapping tiles, then into four:
    motion that leaves its tile is not followed any more. Then the error is raised. What was once
    too big stays cut for as long as this object lives, which is one video.
    """

    halvings: int
    """How often tiles had to be halved so far."""

    def __init__(self, network: Network) -> None:
        self.halvings = 0
        self._network = network
        self._dtype = next(iter(network.parameters())).dtype
        self._latest: tuple[Tensor, Any] | None = None

    @torch.inference_mode()
    def between(self, first: Tensor, second: Tensor, times: Sequence[float]) -> Iterator[Tensor]:
        """Yield the frame at each of *times*, in their order.

        Args:
            first: [1, 3, height, width], 0 to 1, on the network's device; any size.
            second: The same.
            times: Between 0, which is *first*, and 1, which is *second*.

        Yields:
            [1, 3, height, width], float32, 0 to 1.

        Raises:
            torch.OutOfMemoryError: If a quarter of the frame does not fit either.
        """
        done = 0
        while done < len(times):
            try:
                for frame in self._attempt(first, second, times[done:]):
                    yield frame.float().clamp(0, 1)
                    done += 1
            except torch.OutOfMemoryError:
                if self.halvings == HALVINGS:
                    raise
                self.halvings += 1
                self._latest = None
                if first.is_cuda:
                    torch.cuda.empty_cache()
                log.warning("out of memory: frames are cut into %d tiles", 2**self.halvings)

    def _attempt(self, first: Tensor, second: Tensor, times: Sequence[float]) -> Iterator[Tensor]:
        height, width = first.shape[-2:]
        if self.halvings:
            yield from self._tiled(first, second, times)
            return
        for frame in self._network.between(self._seen(first), self._seen(second), times):
            yield frame[..., :height, :width]

    def _seen(self, frame: Tensor) -> Any:
        if self._latest is not None and self._latest[0] is frame:
            return self._latest[1]
        seen = self._network.see(self._padded(frame))
        self._latest = (frame, seen)
        return seen

    def _tiled(self, first: Tensor, second: Tensor, times: Sequence[float]) -> Iterator[Tensor]:
        height, width = first.shape[-2:]
        frames = [torch.zeros_like(first, dtype=torch.float32) for _ in times]
        total = torch.zeros_like(first[:, :1], dtype=torch.float32)
        for rows, columns in tiles(height, width, self.halvings):
            one, two = (
                self._network.see(self._padded(frame[..., rows, columns]))
                for frame in (first, second)
            )
            share = _fading(rows, height)[:, None] * _fading(columns, width)
            share = share.to(first.device)
            for frame, made in zip(frames, self._network.between(one, two, times), strict=True):
                frame[..., rows, columns] += made[..., : len(share), : share.shape[1]] * share
            total[..., rows, columns] += share
        yield from (frame / total for frame in frames)

    def _padded(self, frame: Tensor) -> Tensor:
        """Repeat the last row and column up to the next multiple."""
        right, below = (-side % self._network.multiple for side in (frame.shape[3], frame.shape[2]))
        return pad(frame.to(self._dtype), (0, right, 0, below), mode="replicate")


def tiles(height: int, width: int, halvings: int) -> list[Region]:
    """Cut a frame *halvings* times across its longer side, with overlaps."""
    rows, columns = 1, 1
    for _ in range(halvings):
        if width / columns >= height / rows:
            columns *= 2
        else:
            rows *= 2
    return [(row, column) for row in _spans(height, rows) for column in _spans(width, columns)]


def _spans(length: int, pieces: int) -> list[slice]:
    edges = [round(length * index / pieces) for index in range(pieces + 1)]
    return [
        slice(max(0, start - OVERLAP), min(length, stop + OVERLAP))
        for start, stop in pairwise(edges)
    ]


def _fading(span: slice, length: int) -> Tensor:
    """Return the weight of each pixel of *span*: less and less towards an edge inside the frame."""
    place = torch.arange(span.start, span.stop, dtype=torch.float32)
    share = torch.ones_like(place)
    if span.start > 0:
        share = torch.minimum(share, (place - span.start + 1) / (2 * OVERLAP))
    if span.stop < length:
        share = torch.minimum(share, (span.stop - place) / (2 * OVERLAP))
    return share
