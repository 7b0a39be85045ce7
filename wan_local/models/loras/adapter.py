"""A LoRA's file -> its changes, held in host memory in the file's own low-rank form.

The file is read once, whole, and hashed, checked and applied from that one copy: nothing that
happens to the file afterwards can change what was checked.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from wan_local.errors import LoraRefused
from wan_local.models.loras.adapter_config import adapter_config
from wan_local.models.loras.coverage import Coverage, coverage
from wan_local.models.loras.header import (
    MAX_BYTES,
    MAX_HEADER_BYTES,
    Header,
    TensorInfo,
    read_header,
)
from wan_local.models.loras.layers import Expert, Layer, read_layers
from wan_local.models.loras.products import DORA, PLAIN_PAIR, PRODUCTS, decomposed
from wan_local.models.loras.shapes import Kind, Shape

_DTYPES = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}


@dataclass(frozen=True, slots=True)
class Change:
    """What a LoRA adds to one weight."""

    weight: str
    expert: Expert | None
    """The only expert it is made for, if the file says so."""
    kind: Kind
    parts: Mapping[str, Tensor]
    scale: float
    """Alpha over rank, or what takes its place."""

    def add_to(self, total: Tensor, scale: float, read: Callable[[], Tensor]) -> None:
        """Add the change, times *scale*, to *total*: float32, contiguous, of the weight's shape.

        *read* returns the weight without any change, for those that depend on it.
        """
        parts = {name: part.to(total.device, torch.float32) for name, part in self.parts.items()}
        if self.parts.keys() == PLAIN_PAIR:
            # Most changes are these, and for them no product of the weight's size has to be made:
            # 0.8 s in the place of 2.0 for a feed-forward layer of A14B on one busy CPU core, where
            # fresh pages cost more than the arithmetic.
            rows = total.view(total.shape[0], -1)
            rows.addmm_(parts["up"].flatten(1), parts["down"].flatten(1), alpha=scale * self.scale)
            return
        delta = PRODUCTS[self.kind](parts).reshape(total.shape) * self.scale
        if DORA in parts:
            delta = decomposed(read(), delta, parts[DORA])
        total.add_(delta, alpha=scale)


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA in host memory."""

    sha256: str
    changes: Mapping[str, tuple[Change, ...]]
    """Weight -> what is added to it."""
    coverage: Coverage
    size: int
    """Bytes of host memory."""


def read_adapter(path: Path, model: Mapping[str, Shape], sha256: str | None = None) -> Adapter:
    """Read the LoRA at *path* for a model whose weights have the names and shapes of *model*.

    Raises:
        LoraRefused: If it is no LoRA for this model, or not the file of hash *sha256*.
    """
    data = _read_whole(path)
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256:
        msg = "the file has changed since the request was accepted"
        raise LoraRefused(msg)
    # BytesIO copies what it is given: no more than a header can be.
    start = io.BytesIO(memoryview(data)[: 8 + MAX_HEADER_BYTES])
    header = read_header(start, len(data))
    config = adapter_config(header.metadata, path)
    reading = read_layers(header.shapes, model, config)
    changes: dict[str, tuple[Change, ...]] = {}
    for layer in reading.layers:
        change = _change(layer, header, data)
        changes[layer.weight] = (*changes.get(layer.weight, ()), change)
    return Adapter(found, changes, coverage(reading, found), len(data))


def _read_whole(path: Path) -> bytearray:
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size > MAX_BYTES:
                msg = f"the file has {size / 1e9:.1f} GB; a LoRA may have {MAX_BYTES / 1e9:.1f}"
                raise LoraRefused(msg)
            data = bytearray(size)
            del data[file.readinto(data) :]
            return data
    except OSError as error:
        msg = f"the file cannot be read: {error.strerror}"
        raise LoraRefused(msg) from error


def _change(layer: Layer, header: Header, data: bytearray) -> Change:
    parts = {part: _tensor(key, header.tensors[key], data) for part, key in layer.tensors.items()}
    alpha = parts.pop("alpha", None)
    scale = 1.0 if layer.scale is None else layer.scale
    if alpha is not None and layer.rank is not None:
        scale = float(alpha.float()) / layer.rank
    return Change(layer.weight, layer.expert, layer.kind, parts, scale)


def _tensor(key: str, info: TensorInfo, data: bytearray) -> Tensor:
    raw = torch.frombuffer(data, dtype=torch.uint8, count=info.end - info.begin, offset=info.begin)
    dtype = _DTYPES[info.dtype]
    if info.begin % dtype.itemsize:
        raw = raw.clone()  # a view of another dtype has to begin on a multiple of its size
    tensor = raw.view(dtype).reshape(info.shape)
    # float8 has no isfinite of its own
    numbers = tensor.float() if dtype.itemsize == 1 else tensor
    if not bool(numbers.isfinite().all()):
        msg = f"{key} holds a number that is not finite"
        raise LoraRefused(msg)
    return tensor
