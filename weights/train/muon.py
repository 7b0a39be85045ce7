"""Muon: momentum whose matrices are made orthogonal before they are added to the weights.

Every direction of a matrix is then learned at the same pace, not only the few that a batch shouts
about. Keller Jordan et al., 2024; torch.optim.Muon is the same for plain matrices, while here a
convolution's kernel counts as one: [out, in × taps].
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

STEPS = 5
"""Of the Newton-Schulz iteration."""
A, B, C = 3.4445, -4.7750, 2.0315
"""Its polynomial, steep at zero: singular values end between 0.7 and 1.2."""


def learned_by_muon(model: nn.Module) -> list[nn.Parameter]:
    """Return *model*'s matrices and kernels: no gain, no bias, no table of embeddings."""
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    return [
        parameter
        for parameter in model.parameters()
        if parameter.requires_grad
        and id(parameter) not in tables
        and parameter.ndim in (2, 4, 5)
        and min(parameter.flatten(1).shape) > 1
    ]


class Muon(torch.optim.Optimizer):
    """Steps of the same length for each matrix, *lr* in the spectral norm."""

    def __init__(self, matrices: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Take one step along the gradients that are there."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if not state:
                    state["momentum"] = torch.zeros_like(matrix)
                state["momentum"].lerp_(matrix.grad, 1 - group["momentum"])
                ahead = matrix.grad.lerp(state["momentum"], group["momentum"])
                way = orthogonal(ahead.flatten(1))
                length = group["lr"] * math.sqrt(max(1.0, way.shape[0] / way.shape[1]))
                matrix.sub_(way.view_as(matrix), alpha=length)


def orthogonal(matrix: Tensor) -> Tensor:
    """Return *matrix*, [rows, columns], with all its singular values near 1.

    In bfloat16: the iteration forgives its rounding, and takes two thirds of the time.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = (x / (x.norm() + 1e-12)).bfloat16()
    for _ in range(STEPS):
        square = x @ x.T
        x = A * x + (B * square + C * square @ square) @ x
    return (x.T if tall else x).to(matrix.dtype)
