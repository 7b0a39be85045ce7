"""Muon: which weights it learns, and that it learns them."""

from __future__ import annotations

import torch
from torch import nn

from weights.train.muon import Muon, learned_by_muon, orthogonal


def test_all_directions_become_alike():
    """That is the whole idea: the weak directions of a gradient count as much as the strong."""
    generator = torch.Generator().manual_seed(0)
    for shape in ((8, 24), (24, 8), (12, 12)):
        matrix = torch.randn(shape, generator=generator) @ torch.diag(
            torch.logspace(0, -2, shape[1])
        )
        values = torch.linalg.svdvals(orthogonal(matrix))

        assert values.max() < 1.3
        assert (values > 0.5).sum() >= min(shape) - 2  # what was a 300th stays behind a little


def test_it_learns_matrices_and_kernels_and_nothing_else():
    """Gains, biases and tables of embeddings are AdamW's."""
    model = nn.Sequential(
        nn.Embedding(6, 4), nn.Linear(4, 4), nn.Conv3d(4, 4, 3), nn.LayerNorm(4), nn.Linear(4, 1)
    )
    model[1].weight.requires_grad_(False)

    assert [id(model[2].weight)] == [id(p) for p in learned_by_muon(model)]


def test_a_badly_scaled_problem_is_solved_where_plain_descent_is_not():
    """The weakest input is a tenth of the strongest; descent hardly moves along it."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(256, 6, generator=generator) * torch.logspace(0, -1, 6)
    wanted = torch.randn(5, 6, generator=generator)

    def error(optimiser_of):
        weight = nn.Parameter(torch.zeros(5, 6))
        optimiser = optimiser_of([weight])
        for step in range(300):
            optimiser.param_groups[0]["lr"] = 0.1 * (1 - step / 300)
            optimiser.zero_grad()
            (inputs @ (weight - wanted).T).square().sum(1).mean().backward()
            optimiser.step()
        return float((weight.detach() - wanted).abs().max())

    assert error(lambda weights: Muon(weights, lr=0.1)) < 0.05
    assert error(lambda weights: torch.optim.SGD(weights, lr=0.1)) > 0.2
