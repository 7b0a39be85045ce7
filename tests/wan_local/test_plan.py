"""The plan refuses what no checkpoint could carry out."""

from __future__ import annotations

import dataclasses

import pytest

from tests.wan_local.plans import PICTURE, a_plan, a_sampling
from wan_local.errors import InvalidPlan
from wan_local.geometry import Size
from wan_local.plan import PictureSpec, StartSpec


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_frames": 0}, "num_frames must be at least 1, got 0"),
        ({"size": Size(850, 480)}, "multiples of 16, got 850×480"),
        ({"fps": 0}, "fps must be positive, got 0"),
        ({"preview_every": -1}, "preview_every must not be negative, got -1"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        (
            {"steps": 4, "start": StartSpec(file=PICTURE, strength=0.2)},
            "strength 0.2 of 4 steps leaves no step",
        ),
        ({"picture": PictureSpec()}, "a picture is 1 frame, not 9"),
        ({"last_frame": PICTURE}, "needs one to begin with"),
        ({"first_frame": PICTURE, "last_frame": PICTURE, "num_frames": 1}, "at least 2 frames"),
    ],
)
def test_a_plan_that_can_never_succeed_is_refused_with_its_value(changes, said):
    """The client learns at submit what is wrong, not from a GPU minutes later."""
    with pytest.raises(InvalidPlan, match=said):
        a_plan(**changes)


def test_a_plan_cannot_be_changed_on_its_way():
    """What the server refused or accepted is what the GPU carries out."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        a_plan().num_frames = 5


def test_equal_requests_make_equal_plans():
    """A retried job is the same job: plans are values, not identities."""
    assert a_plan() == a_plan()
    assert a_plan() != a_plan(seed=8)


def test_the_surplus_of_the_last_latent_frame_is_counted_in():
    """80 frames need the 21 latent frames of 81."""
    assert 21 == a_plan(num_frames=80).latent_frames


def test_sampling_says_which_solver():
    """Wan's own solver, unless a distilled model asks for Euler."""
    assert ("unipc", "euler") == (a_sampling().solver, a_sampling(solver="euler").solver)


@pytest.mark.parametrize(
    ("strength", "run"), [(1, 10), (0.95, 9), (0.9, 9), (0.6, 6), (0.3, 3), (0.1, 1)]
)
def test_a_start_leaves_out_the_first_steps(strength, run):
    """Rounded down, as diffusers does: the same strength keeps the same share of the input."""
    assert run == a_plan(steps=10, start=StartSpec(file=PICTURE, strength=strength)).steps_run
    assert 10 == a_plan(steps=10).steps_run


@pytest.mark.parametrize(
    ("changes", "ending"),
    [
        ({}, ".mp4"),
        ({"num_frames": 1, "picture": PictureSpec()}, ".jpg"),
        ({"num_frames": 1, "picture": PictureSpec(format="png")}, ".png"),
    ],
)
def test_the_ending_of_the_file_is_the_plans(changes, ending):
    """Who writes the file, who stores it and who serves it agree without asking each other."""
    assert ending == a_plan(**changes).file_ending
