"""The arithmetic of each kind of change, in float32. To add a kind, add a row to `PRODUCTS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from wan_local.models.loras.shapes import Kind, by_column

DORA = "dora"
PLAIN_PAIR = {"up", "down"}

Parts = Mapping[str, Tensor]


def low_rank(parts: Parts) -> Tensor:
    """Return up @ down (https://arxiv.org/abs/2106.09685), with LoCon's middle if there is one."""
    up, down = parts["up"].flatten(1), parts["down"]
    if "mid" in parts:
        return torch.einsum("ij...,jr,pi->pr...", parts["mid"], down.flatten(1), up)
    return up @ down.flatten(1)


def hadamard(parts: Parts) -> Tensor:
    """Return LoHa's product of two low-rank matrices (https://arxiv.org/abs/2108.06098)."""
    return _pair(parts, "hada_w1", "hada_t1") * _pair(parts, "hada_w2", "hada_t2")


def kronecker(parts: Parts) -> Tensor:
    """Return LoKr's Kronecker product (https://arxiv.org/abs/2309.14859)."""
    first = parts["lokr_w1"] if "lokr_w1" in parts else _pair(parts, "lokr_w1", "lokr_t1")
    second = parts["lokr_w2"] if "lokr_w2" in parts else _pair(parts, "lokr_w2", "lokr_t2")
    return torch.kron(first.flatten(1), second.flatten(1).contiguous())


def difference(parts: Parts) -> Tensor:
    """Return the change as it is."""
    return parts["diff"]


PRODUCTS: dict[Kind, Callable[[Parts], Tensor]] = {
    "lora": low_rank,
    "loha": hadamard,
    "lokr": kronecker,
    "diff": difference,
}


def decomposed(pristine: Tensor, delta: Tensor, magnitude: Tensor) -> Tensor:
    """Return DoRA's change (https://arxiv.org/abs/2402.09353): new lengths for the merged weight.

    Lengths are those of rows, or of columns where *magnitude* is written as one row (LyCORIS has
    both). The request's scale multiplies the result, so that 0 is the base and 1 is as trained.
    """
    merged = pristine + delta
    kept = 1 if by_column(magnitude.shape) else 0
    others = [side for side in range(merged.ndim) if side != kept]
    lengths: Tensor = torch.linalg.vector_norm(merged, dim=others, keepdim=True)
    lengths.clamp_(min=1e-12)  # a row of zeros stays one
    renewed: Tensor = merged * (magnitude.reshape(lengths.shape) / lengths)
    return renewed - pristine


def _pair(parts: Parts, name: str, middle: str) -> Tensor:
    left, right = parts[f"{name}_a"], parts[f"{name}_b"]
    if middle in parts:
        whole = torch.einsum("ij...,jr,ip->pr...", parts[middle], right.flatten(1), left.flatten(1))
        return whole.flatten(1)  # as the other factor is, which may have no middle
    return left.flatten(1) @ right.flatten(1)
