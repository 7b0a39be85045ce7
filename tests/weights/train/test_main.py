"""The one command that makes everything again."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from weights.train.__main__ import STEPS
from weights.train.assemble import NETWORKS, TRAINED

STEP_BY_STEP = [step for row in STEPS for step in row]


@pytest.mark.parametrize("step", STEP_BY_STEP)
def test_every_step_is_a_command_that_knows_its_flags(step):
    """A flag that is gone would be found out hours into the run."""
    module, *arguments = step.split()
    spec = importlib.util.find_spec(f"weights.train.{module}")
    source = Path(spec.origin).read_text()

    assert '__name__ == "__main__"' in source
    for flag in (word for word in arguments if word.startswith("--")):
        assert f'"{flag}"' in source


@pytest.mark.parametrize("step", STEP_BY_STEP)
def test_what_a_step_reads_was_made_by_one_before_it(step):
    """In a row before its own: steps of one row run at the same time."""
    earlier = [s for row in STEPS[: next(n for n, r in enumerate(STEPS) if step in r)] for s in row]
    made = {word for s in earlier for word in re.findall(r"OUT/[\w/-]+", s)}
    own = re.findall(r"(?<=OUT/)[\w/-]+", step)
    unknown = [f"OUT/{name}" for name in own if f"OUT/{name}" not in made]

    assert len(unknown) <= 1  # what it writes


def test_everything_that_is_assembled_is_made():
    """A checkpoint whose parts no step makes would be left out for ever."""
    made = " ".join(STEP_BY_STEP)
    parts = [part for trained in TRAINED for part in trained.parts.values()]

    for part in {part.split("/")[0] for part in parts} | set(NETWORKS):
        assert f"OUT/{part}" in made
