"""Our loop against WanPipeline's, on the same weights; every endpoint is in `test_equality.py`."""

from __future__ import annotations

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from tests.wan_local.plans import T2V, a_plan
from wan_local.events import StepDone
from wan_local.geometry import Size
from wan_local.models.loading import load_component
from wan_local.plan import PromptSpec
from wan_local.stages.condition import WordsAlone
from wan_local.stages.denoise import Guidance, denoise
from wan_local.stages.schedule import schedule

CASES = {
    "guidance in both experts": {},
    "no guidance": {"guidance_high": 1, "guidance_low": 1},
    "guidance in the high-noise expert only": {"guidance_high": 4, "guidance_low": 1},
    "guidance in the low-noise expert only": {"guidance_high": 1, "guidance_low": 4},
    "shift 1": {"shift": 1.0, "steps": 6},
    "shift 12, many steps": {"shift": 12.0, "steps": 12},
    "the high-noise expert alone": {"boundary": 0.0},
    "the low-noise expert alone": {"boundary": 1.01},
    "the image model's boundary": {"boundary": 0.9, "steps": 8},
    "another seed": {"seed": 2**40 + 1},
    "one step": {"steps": 1},
    "one frame": {"num_frames": 1},
    "upright": {"size": Size(48, 80), "num_frames": 5},
    "no negative prompt": {"prompt": PromptSpec(text="a dog stirring the batter")},
}


@pytest.mark.parametrize("name", [name for name in CASES if "expert only" not in name])
def test_given_the_same_embeddings_the_loop_is_equal_to_the_bit(
    our_embeds, our_latents, oracle, name
):
    """What separates us from diffusers elsewhere is rounding in the text encoder, and nothing else.

    Left out are the cases that diffusers can only run with one more pass and one more rounding.
    """
    plan = a_plan(**CASES[name])
    theirs = oracle(plan, embeds=our_embeds)

    assert torch.equal(theirs, our_latents(plan))


def test_euler_is_that_of_diffusers_on_the_right_levels(our_latents, pipeline):
    """Given the levels from outside, diffusers' Euler agrees with ours step for step."""

    class Levels(FlowMatchEulerDiscreteScheduler):
        def set_timesteps(self, _steps, device):
            super().set_timesteps(sigmas=[1.0, 15 / 16, 5 / 6, 5 / 8], device=device)

    plan = a_plan(solver="euler", steps=4, shift=5.0, guidance_high=1, guidance_low=1)
    pipeline.scheduler, kept = Levels(shift=1.0), pipeline.scheduler
    pipeline.register_to_config(boundary_ratio=0.875)
    try:
        theirs = pipeline(
            prompt=plan.prompt.text,
            height=48,
            width=64,
            num_frames=9,
            num_inference_steps=4,
            guidance_scale=1.0,
            generator=torch.Generator("cpu").manual_seed(7),
            output_type="latent",
        ).frames
    finally:
        pipeline.scheduler = kept

    assert (theirs - our_latents(plan)).abs().max() <= 1e-5


def test_the_prompt_and_the_negative_prompt_matter(our_latents):
    """Equality with an oracle that ignored them would prove nothing."""
    plain = our_latents(a_plan())
    other = our_latents(a_plan(prompt=PromptSpec(text="a horse", negative="blurred details")))
    unwanted = our_latents(a_plan(prompt=PromptSpec(text="a cat baking a cake", negative="ugly")))

    assert (plain - other).abs().max() > 1e-3
    assert (plain - unwanted).abs().max() > 1e-3


@pytest.fixture(scope="module")
def expert(weights):
    return load_component(weights / T2V, "transformer", torch.float32)


@pytest.fixture
def passes(expert):
    """The list that grows by one with each pass through the expert."""
    seen = []
    hook = expert.register_forward_pre_hook(lambda *_: seen.append(1))
    yield seen
    hook.remove()


def walk(expert, *, guidance, steps=3):
    solver = schedule(a_plan(steps=steps).sampling, {"use_flow_sigmas": True} | FLOW)
    return denoise(
        expert,
        torch.ones(1, 16, 2, 4, 4),
        guidance,
        timesteps=solver.timesteps,
        solver=solver,
        first_step=5,
        total_steps=9,
    )


def words(negative, scale, *, prompt=None):
    return Guidance(PROMPT if prompt is None else prompt, negative, scale, WordsAlone())


FLOW = {"prediction_type": "flow_prediction", "num_train_timesteps": 1000}
PROMPT = torch.ones(1, 512, 32)


@pytest.mark.parametrize(
    ("guidance", "count"),
    [
        (words(-PROMPT, 4.0), 6),
        (words(-PROMPT, 1.0), 3),
        (words(None, 1.0), 3),
    ],
)
def test_a_pass_that_changes_nothing_is_not_run(expert, passes, guidance, count):
    """At scale 1 the negative prompt's share is zero; diffusers computes it all the same."""
    list(walk(expert, guidance=guidance))

    assert count == len(passes)


def test_steps_are_said_as_they_are_done(expert, passes):
    """A progress bar that is told in advance, or afterwards, is no progress bar."""
    run = walk(expert, guidance=words(None, 1.0))

    for done, step in enumerate((5, 6, 7), 1):
        assert StepDone(step, 9) == next(run)
        assert done == len(passes)


def test_stopping_stops_the_expert(expert, passes):
    """A cancelled job must free the GPU within a step."""
    run = walk(expert, guidance=words(None, 1.0))
    next(run)
    run.close()

    assert 1 == len(passes)


def test_inference_mode_does_not_leak_between_steps(expert):
    """Between two steps the generator is asleep and the caller's code runs, in its own mode."""
    modes = [torch.is_inference_mode_enabled() for _ in walk(expert, guidance=words(None, 1))]

    assert [False, False, False] == modes


def test_the_expert_sees_its_own_dtype_and_the_solver_float32():
    """In bfloat16, sixteen levels lie between two steps' latents; the sum must not be rounded."""
    seen = []

    class Recorder(torch.nn.Module):
        def forward(self, hidden_states, timestep, encoder_hidden_states, return_dict):
            seen.append((hidden_states.dtype, encoder_hidden_states.dtype))
            return (hidden_states * 0.5,)

    run = walk(Recorder(), guidance=words(-PROMPT.bfloat16(), 3.0, prompt=PROMPT.bfloat16()))
    while True:
        try:
            next(run)
        except StopIteration as end:
            latents = end.value
            break

    assert {(torch.bfloat16, torch.bfloat16)} == set(seen)
    assert torch.float32 == latents.dtype
