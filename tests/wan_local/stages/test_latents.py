"""The noise that a seed stands for."""

from __future__ import annotations

import torch

from wan_local.geometry import Size
from wan_local.stages.latents import initial_latents


def test_a_seed_is_the_same_noise_every_time():
    """A client that repeats a seed wants its video back."""
    one, two = (initial_latents(Size(64, 48), 3, seed=7) for _ in range(2))

    assert torch.equal(one, two)
    assert not torch.equal(one, initial_latents(Size(64, 48), 3, seed=8))


def test_noise_is_drawn_as_diffusers_draws_it():
    """A seed found with diffusers on a CPU generator shows the same video here."""
    theirs = torch.randn((1, 16, 3, 6, 8), generator=torch.Generator("cpu").manual_seed(7))

    assert torch.equal(theirs, initial_latents(Size(64, 48), 3, seed=7))
    assert torch.float32 == theirs.dtype


def test_drawing_leaves_the_process_s_own_generator_alone():
    """Two jobs one after the other must not depend on each other."""
    before = torch.get_rng_state()
    initial_latents(Size(64, 48), 3, seed=7)

    assert torch.equal(before, torch.get_rng_state())


def test_the_largest_seed_of_the_api_is_a_seed():
    """The schema promises up to 2**63 - 1."""
    assert torch.isfinite(initial_latents(Size(16, 16), 1, seed=2**63 - 1)).all()
