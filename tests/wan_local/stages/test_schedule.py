"""Which noise levels are visited, and by whom."""

from __future__ import annotations

import json

import pytest
import torch

from tests.wan_local.plans import T2V, a_sampling
from wan_local.errors import InvalidPlan
from wan_local.stages.schedule import schedule, split_by_expert


@pytest.fixture(scope="module")
def published(weights):
    return json.loads((weights / T2V / "scheduler" / "scheduler_config.json").read_text())


def levels(spec, published):
    return [round(float(t), 1) for t in schedule(spec, published).timesteps]


def test_euler_visits_the_levels_the_four_step_models_were_distilled_at(published):
    """Diffusers shifts twice and ends at 24.4: no step is left for the picture's details."""
    spec = a_sampling(solver="euler", steps=4, shift=5.0)

    assert [1000.0, 937.5, 833.3, 625.0] == levels(spec, published)
    assert [1.0, 0.9375, 0.8333, 0.625, 0.0] == pytest.approx(
        schedule(spec, published).sigmas.tolist(), abs=1e-4
    )


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        (1.0, [999, 750, 500, 250]),
        (3.0, [999, 900, 750, 500]),
        (5.0, [999, 937, 833, 625]),
        (8.0, [999, 960, 889, 728]),
        (12.0, [999, 973, 923, 800]),
    ],
)
def test_unipc_is_shifted_as_the_client_asks(published, shift, expected):
    """The published files hold one shift, 3, for all requests."""
    assert expected == levels(a_sampling(steps=4, shift=shift), published)


@pytest.mark.parametrize(
    ("shift", "steps", "high", "low"),
    [(12.0, 40, 26, 14), (12.0, 27, 18, 9), (5.0, 40, 17, 23), (3.0, 40, 13, 27)],
)
def test_the_experts_share_the_steps_as_in_diffusers(published, shift, steps, high, low):
    """Counted in WanPipeline at Wan's boundary of 0.875."""
    spec = a_sampling(shift=shift, steps=steps)
    legs = split_by_expert(schedule(spec, published).timesteps, spec)

    assert [("transformer", high), ("transformer_2", low)] == [
        (leg.expert, len(leg.timesteps)) for leg in legs
    ]


def test_legs_carry_their_guidance_and_count_on():
    """One progress bar and one schedule for both experts."""
    spec = a_sampling(guidance_high=3.0, guidance_low=1.0)
    high, low = split_by_expert(torch.tensor([999, 937, 833, 625]), spec)

    assert (3.0, 1) == (high.guidance, high.first_step)
    assert (1.0, 3) == (low.guidance, low.first_step)
    assert [999, 937, 833, 625] == torch.cat([high.timesteps, low.timesteps]).tolist()


def test_the_boundary_itself_belongs_to_the_high_noise_expert():
    """WanPipeline asks `t >= boundary`."""
    legs = split_by_expert(torch.tensor([875, 874]), a_sampling(boundary=0.875))

    assert [[875], [874]] == [leg.timesteps.tolist() for leg in legs]


@pytest.mark.parametrize(
    ("boundary", "expert"), [(0.0, "transformer"), (1.01, "transformer_2")], ids=["high", "low"]
)
def test_an_expert_without_steps_is_not_asked_for(boundary, expert):
    """It would be 28 GB moved for nothing."""
    legs = split_by_expert(torch.tensor([999, 500]), a_sampling(boundary=boundary))

    assert [(expert, 2)] == [(leg.expert, len(leg.timesteps)) for leg in legs]


def test_one_expert_takes_every_step():
    """The 5B model has no other; its guidance is the first of the two."""
    spec = a_sampling(boundary=None, guidance_high=3.5, guidance_low=9)
    [leg] = split_by_expert(torch.tensor([999, 500, 1]), spec)

    assert ("transformer", 3.5, 1, 3) == (
        leg.expert,
        leg.guidance,
        leg.first_step,
        len(leg.timesteps),
    )


@pytest.mark.parametrize(("solver", "steps"), [("unipc", 6), ("euler", 6), ("dmd", 3)])
def test_a_schedule_may_begin_later(published, solver, steps):
    """Video to video leaves the noisiest levels out; those that are left are the same ones."""
    spec = a_sampling(solver=solver, steps=steps)
    late = schedule(spec, published, first=2)
    sample = torch.ones(1, 48, 1, 2, 2)
    for step, timestep in enumerate(late.timesteps[2:], 2):
        clean = sample - late.sigmas[step] * torch.ones_like(sample)
        sample = late.step(torch.ones_like(sample), timestep, sample, return_dict=False)[0]

    assert torch.equal(schedule(spec, published).sigmas, late.sigmas)
    assert torch.allclose(clean, sample, atol=1e-5)


def test_dmd_visits_the_three_levels_it_was_distilled_at(published):
    """1000, 757 and 522, each at the nearest level of a thousand that are shifted by 5."""
    solver = schedule(a_sampling(solver="dmd", steps=3, shift=5.0), published)

    assert [1000, 757, 522] == solver.timesteps.tolist()
    assert [1.0, 0.757098, 0.521562, 0.0] == pytest.approx(solver.sigmas.tolist(), abs=1e-6)


def test_dmd_noises_afresh_and_a_seed_repeats(published):
    """Three steps of fresh noise, all of it the seed's: and none of it the noise of the start."""

    def walk(seed):
        solver = schedule(a_sampling(solver="dmd", steps=3, seed=seed), published)
        sample, seen = torch.zeros(1, 48, 1, 2, 2), []
        for timestep in solver.timesteps:
            sample = solver.step(sample, timestep, sample, return_dict=False)[0]
            seen.append(sample)
        return seen

    one, again, other = walk(7), walk(7), walk(8)
    start = torch.randn(1, 48, 1, 2, 2, generator=torch.Generator().manual_seed(7))
    assert all(map(torch.equal, one, again))
    assert not torch.equal(one[0], other[0])
    assert not torch.allclose(start * 0.757098, one[0], atol=1e-3)
    assert not torch.allclose(one[0] / 0.757098, one[1] / 0.521562, atol=1e-3)


def test_a_model_of_three_steps_is_not_run_with_another_number(published):
    """It never saw other levels."""
    with pytest.raises(InvalidPlan, match="takes 3 steps, not 4"):
        schedule(a_sampling(solver="dmd", steps=4), published)


@pytest.mark.parametrize("solver", ["unipc", "euler"])
def test_a_solver_remembers_nothing_of_the_plan_before(published, solver):
    """A multistep solver that was used twice would start with a stranger's history."""
    spec = a_sampling(solver=solver)
    sample, results = torch.ones(1, 2), []
    for _ in range(2):
        made = schedule(spec, published)
        value = sample
        for timestep in made.timesteps:
            value = made.step(value * 0.5, timestep, value, return_dict=False)[0]
        results.append(value)

    assert torch.equal(*results)


@pytest.mark.parametrize("solver", ["unipc", "euler"])
def test_a_straight_path_is_walked_exactly(published, solver):
    """Flow matching moves along noise minus picture; a model that knows it must arrive."""
    noise, picture = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.25, 0.5]])
    made = schedule(a_sampling(solver=solver, steps=6), published)
    value = noise
    for timestep in made.timesteps:
        value = made.step(noise - picture, timestep, value, return_dict=False)[0]

    assert torch.allclose(picture, value, atol=1e-5)


@pytest.mark.parametrize("solver", ["unipc", "euler"])
def test_one_step_is_a_schedule_too(published, solver):
    """The shortest plan goes from noise to picture at once."""
    assert 1 == len(schedule(a_sampling(solver=solver, steps=1), published).timesteps)
