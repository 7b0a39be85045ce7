"""A training run stops, goes on and ends."""

from __future__ import annotations

import json

import torch

from weights.train.progress import Course


def course(out, minutes):
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 1)
    return model, Course(model, out, minutes=minutes, rate=0.1, seed=5)


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path):
    """Hours of training must outlive a closed terminal."""
    model, first = course(tmp_path, minutes=0.002)
    for _ in first:
        first.learn(model(torch.ones(4, 2)).square().mean())
    state = first.generator.get_state()
    again, second = course(tmp_path, minutes=0.002)

    assert first.step == second.step > 0
    assert torch.equal(model.weight, again.weight)
    assert torch.equal(state, second.generator.get_state())
    assert [] == list(second)


def test_the_average_follows_the_weights_and_the_curve_is_kept(tmp_path):
    """What is shipped is the average; what went on is in the curve."""
    model, run = course(tmp_path, minutes=0.01)
    target = torch.tensor([[3.0]])
    for _ in run:
        run.learn((model(torch.ones(1, 2)) - target).square().mean())
    lines = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]

    assert (run.average()(torch.ones(1, 2)) - target).abs() < 0.3
    assert lines[0]["loss"] > lines[-1]["loss"]


def test_a_loss_that_is_not_a_number_changes_nothing(tmp_path):
    """One bad batch must not end the run, nor spoil the weights."""
    model, run = course(tmp_path, minutes=0.001)
    before = model.weight.clone()
    run.learn(model(torch.full((1, 2), float("nan"))).mean())

    assert torch.equal(before, model.weight)
