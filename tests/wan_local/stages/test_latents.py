"""The noise that a seed stands for."""

from __future__ import annotations

import torch

from tests.wan_local.plans import T2V, TI2V
from wan_local.catalog import MODELS
from wan_local.geometry import Size
from wan_local.stages.latents import initial_latents, noised


def test_a_seed_is_the_same_noise_every_time():
    """A client that repeats a seed wants its video back."""
    one, two = (initial_latents(MODELS[T2V], Size(64, 48), 3, seed=7) for _ in range(2))

    assert torch.equal(one, two)
    assert not torch.equal(one, initial_latents(MODELS[T2V], Size(64, 48), 3, seed=8))


def test_noise_is_drawn_as_diffusers_draws_it():
    """A seed found with diffusers on a CPU generator shows the same video here."""
    theirs = torch.randn((1, 16, 3, 6, 8), generator=torch.Generator("cpu").manual_seed(7))

    assert torch.equal(theirs, initial_latents(MODELS[T2V], Size(64, 48), 3, seed=7))
    assert torch.float32 == theirs.dtype


def test_drawing_leaves_the_process_s_own_generator_alone():
    """Two jobs one after the other must not depend on each other."""
    before = torch.get_rng_state()
    initial_latents(MODELS[T2V], Size(64, 48), 3, seed=7)

    assert torch.equal(before, torch.get_rng_state())


def test_the_largest_seed_of_the_api_is_a_seed():
    """The schema promises up to 2**63 - 1."""
    assert torch.isfinite(initial_latents(MODELS[T2V], Size(16, 16), 1, seed=2**63 - 1)).all()


def test_a_5b_model_has_more_channels_and_fewer_of_each():
    """48 of a sixteenth of each side, where A14B has 16 of an eighth."""
    assert (1, 48, 3, 3, 4) == tuple(initial_latents(MODELS[TI2V], Size(64, 48), 3, seed=7).shape)


def test_a_start_lies_on_the_straight_line_to_the_noise():
    """At level 1 nothing is left of the input, at 0 nothing but it."""
    clean, noise = torch.full((2,), 3.0), torch.full((2,), -1.0)
    halfway = noised(clean, noise, torch.tensor(0.75))

    assert [0, 0] == halfway.tolist()
    assert torch.equal(clean, noised(clean, noise, torch.tensor(0.0)))
    assert torch.equal(noise, noised(clean, noise, torch.tensor(1.0)))
