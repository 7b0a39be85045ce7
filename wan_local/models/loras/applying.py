"""LoRAs on an expert's weights, and off again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wan_local.models.loras.adapter import Adapter, Change
from wan_local.models.loras.layers import Expert
from wan_local.models.loras.storage import storage_of


@dataclass(frozen=True, slots=True)
class Weighted:
    """A LoRA and how much of it is added to which experts."""

    adapter: Adapter
    scale: float
    experts: frozenset[Expert]


@contextmanager
def applied(
    module: nn.Module,
    loras: Sequence[Weighted],
    *,
    expert: Expert,
    originals: Mapping[str, Tensor],
) -> Iterator[None]:
    """Add *loras* to the weights of *module* for the length of the block, whatever ends it.

    The weights stay where they are: only their bytes change, and afterwards they are the bytes of
    before. The sum is the same bits in whatever order the LoRAs are given.

    Args:
        module: One of the two experts.
        loras: Each by itself and in full; none may already be applied.
        expert: Which expert it is.
        originals: Weight -> an untouched copy that something else keeps, in host memory. Where
            there is none, the weights that change are copied first.
    """
    saved: dict[str, tuple[Tensor, Tensor]] = {}
    try:
        _apply(module, _by_weight(loras, expert), originals, saved)
        yield
    finally:
        _restore(saved)


def _by_weight(loras: Sequence[Weighted], expert: Expert) -> dict[str, list[tuple[float, Change]]]:
    """Return what is added to each weight, in an order that does not depend on the request's."""
    found: dict[str, list[tuple[float, Change]]] = defaultdict(list)
    # Float addition is not associative: the order of the sum has to be the files' own.
    for lora in sorted(loras, key=lambda lora: (lora.adapter.sha256, lora.scale)):
        if expert in lora.experts and lora.scale != 0:
            for weight, changes in lora.adapter.changes.items():
                found[weight] += [
                    (lora.scale, change) for change in changes if change.expert in {None, expert}
                ]
    return {weight: changes for weight, changes in found.items() if changes}


@torch.no_grad()
def _apply(
    module: nn.Module,
    changes: Mapping[str, list[tuple[float, Change]]],
    originals: Mapping[str, Tensor],
    saved: dict[str, tuple[Tensor, Tensor]],
) -> None:
    # Asked for all weights before one is written: what takes no LoRA is refused unchanged.
    storages = {weight: storage_of(module, weight) for weight in changes}
    for weight, storage in storages.items():
        total = storage.read()
        for scale, change in changes[weight]:
            change.add_to(total, scale, storage.read)
        for name, tensor in storage.tensors.items():
            kept = originals.get(name)
            saved[name] = (tensor.data, tensor.data.clone() if kept is None else kept)
        storage.write(total)


@torch.no_grad()
def _restore(saved: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    for tensor, original in saved.values():
        tensor.copy_(original, non_blocking=True)
