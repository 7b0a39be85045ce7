"""Parts that the plans of several endpoints have in common."""

from __future__ import annotations

import pytest

from server.planning.parts import interpolation_spec, prompt_spec, safety_spec
from server.schemas.video import SmallDistilledTextToVideoInput, TextToVideoInput
from wan_local.plan import PromptSpec, SafetySpec


def wire(**fields):
    return TextToVideoInput.model_validate({"prompt": "a", **fields})


@pytest.mark.parametrize("fields", [{"interpolator_model": "none"}, {"num_interpolated_frames": 0}])
def test_two_ways_to_want_no_interpolation(fields):
    """`none`, or no frames between."""
    assert interpolation_spec(wire(**fields)) is None


def test_the_output_check_is_its_own():
    """Two switches with nearly one name."""
    asked = wire(enable_output_safety_checker=True)

    assert SafetySpec(check_input=False, check_output=True) == safety_spec(asked)


def test_what_has_no_negative_prompt_avoids_nothing():
    """The turbo and distilled endpoints have no such field."""
    assert PromptSpec(text="a", negative="b") == prompt_spec(wire(negative_prompt="b"))
    assert PromptSpec(text="a") == prompt_spec(SmallDistilledTextToVideoInput(prompt="a"))
