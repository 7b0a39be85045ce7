"""What was asked for and not done is said."""

from __future__ import annotations

import pytest

from tests.wan_local.plans import a_plan
from wan_local.plan import InterpolationSpec
from wan_local.stages.unbuilt import UNBUILT, not_done

FILM = InterpolationSpec(model="film", frames_between=1)
CASES = [
    (
        {"interpolation": FILM, "num_frames": 81},
        "interpolation with film was asked for and is not built yet: "
        "81 frames at 16 fps, none added",
    ),
]


@pytest.mark.parametrize(("changes", "sentence"), CASES)
def test_what_is_not_built_is_said_once(changes, sentence):
    """A client that asked for smoother motion must not wonder where it is."""
    assert [sentence] == not_done(a_plan(**changes))


def test_every_row_has_its_sentence_here():
    """A row nobody has read may say anything."""
    everything = {name: value for changes, _ in CASES for name, value in changes.items()}

    assert len(UNBUILT) == len(CASES) == len(not_done(a_plan(**everything)))


@pytest.mark.parametrize(
    "changes", [{}, {"interpolation": InterpolationSpec(model="rife", frames_between=0)}]
)
def test_what_was_not_asked_for_is_not_mentioned(changes):
    """Warnings that always come are not read."""
    assert [] == not_done(a_plan(**changes))
