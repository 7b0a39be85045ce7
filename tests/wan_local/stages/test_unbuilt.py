"""What was asked for and not done is said."""

from __future__ import annotations

import pytest

from tests.wan_local.plans import a_plan
from wan_local.plan import InterpolationSpec, PromptSpec, SafetySpec
from wan_local.stages.unbuilt import UNBUILT, not_done

FILM = InterpolationSpec(model="film", frames_between=1)
CASES = [
    (
        {"prompt": PromptSpec(text="a cat", expand=True)},
        "prompt expansion was asked for and is not built yet: the prompt was used as written",
    ),
    (
        {"interpolation": FILM, "num_frames": 81},
        "interpolation with film was asked for and is not built yet: "
        "81 frames at 16 fps, none added",
    ),
    (
        {"safety": SafetySpec(check_input=True)},
        "the input safety checker was asked for and is not built yet: the input was not checked",
    ),
    (
        {"safety": SafetySpec(check_output=True)},
        "the output safety checker was asked for and is not built yet: the video was not checked",
    ),
]


@pytest.mark.parametrize(("changes", "sentence"), CASES)
def test_what_is_not_built_is_said_once(changes, sentence):
    """A client that asked for a safety check must not believe there was one."""
    assert [sentence] == not_done(a_plan(**changes))


def test_every_row_has_its_sentence_here():
    """A row nobody has read may say anything."""
    everything = {name: value for changes, _ in CASES for name, value in changes.items()}
    everything["safety"] = SafetySpec(check_input=True, check_output=True)

    assert len(UNBUILT) == len(CASES) == len(not_done(a_plan(**everything)))


@pytest.mark.parametrize(
    "changes", [{}, {"interpolation": InterpolationSpec(model="rife", frames_between=0)}]
)
def test_what_was_not_asked_for_is_not_mentioned(changes):
    """Warnings that always come are not read."""
    assert [] == not_done(a_plan(**changes))
