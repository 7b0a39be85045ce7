"""How a weight is kept, and how a changed one is put in its place.

A change is computed in float32 and written into the very tensors the module has, so that compiled
code and CUDA graphs go on as they are. To let LoRAs change another kind of weight, add a function
to `STORAGES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wan_local.errors import LoraRefused
from wan_local.models.quantize import rounded, row_scale

_SCALE_NAMES = ("weight_scale", "scale_weight")
_FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)
_SCALED = (*_FLOAT8, torch.int8)


@dataclass(frozen=True, slots=True)
class Storage:
    """One weight of a module."""

    tensors: Mapping[str, Tensor]
    """All that is written to, by its name in the module."""
    read: Callable[[], Tensor]
    """Returns a copy of the weight, in float32 and contiguous."""
    write: Callable[[Tensor], None]
    """Puts a weight of float32 in its place."""


def storage_of(module: nn.Module, name: str) -> Storage:
    """Return how *module* keeps its weight *name*.

    Raises:
        LoraRefused: If no LoRA can change a weight that is kept so.
    """
    path, _, leaf = name.rpartition(".")
    owner = module.get_submodule(path)
    weight: Tensor = getattr(owner, leaf)
    for kept_as in STORAGES:
        if storage := kept_as(owner, name, weight):
            return storage
    msg = f"{name} is kept as {type(weight.data).__name__} of {weight.dtype}, which takes no LoRA"
    raise LoraRefused(msg)


def _plain(_owner: nn.Module, name: str, weight: Tensor) -> Storage | None:
    if not _is_dense(weight) or not weight.is_floating_point():
        return None

    def write(value: Tensor) -> None:
        if weight.dtype in _FLOAT8:
            value = rounded(value, weight.dtype)
        weight.data.copy_(value)

    def read() -> Tensor:
        return weight.data.to(torch.float32, copy=True, memory_format=torch.contiguous_format)

    return Storage({name: weight}, read, write)


def _scaled(owner: nn.Module, name: str, weight: Tensor) -> Storage | None:
    """8 bits with a scale beside them, one for the tensor or one for each row.

    The value is rounded anew, as `quantize` rounds one: what a LoRA makes of a weight is off by the
    two roundings, half a step of the old scale and half a step of the new.
    """
    path, _, leaf = name.rpartition(".")
    beside = next(
        (own for own in _SCALE_NAMES if isinstance(getattr(owner, own, None), Tensor)), ""
    )
    if weight.dtype not in _SCALED or leaf != "weight" or not beside:
        return None
    scale: Tensor = getattr(owner, beside)
    rows = scale.numel() > 1
    column = (-1, *[1] * (weight.ndim - 1))

    def read() -> Tensor:
        return weight.data.float() * scale.data.float().reshape(column if rows else ())

    def write(value: Tensor) -> None:
        # A new scale: with the old one, a weight that has grown would be cut off.
        size = value.abs().flatten(1).amax(dim=1) if rows else value.abs().amax()
        scale.data.copy_(row_scale(size, weight.dtype).reshape(scale.shape))
        used = scale.data.float().reshape(column if rows else ())
        weight.data.copy_(rounded(value / used, weight.dtype))

    prefix = f"{path}." if path else ""
    return Storage({name: weight, f"{prefix}{beside}": scale}, read, write)


def _is_dense(weight: Tensor) -> bool:
    return type(weight.data) is Tensor and weight.layout is torch.strided


STORAGES: tuple[Callable[[nn.Module, str, Tensor], Storage | None], ...] = (_scaled, _plain)
