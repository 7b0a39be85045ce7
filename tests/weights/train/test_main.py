"""The one command that makes everything again."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from weights.train.__main__ import STEPS, main, shortened
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


AT_ONCE = ("mean ", "unblur ")
"""Steps that have no length: they only put weights together."""


def test_a_rehearsal_shortens_every_step():
    """What is left at its full length would take the whole time it was to spare."""
    for step in STEP_BY_STEP:
        assert step.startswith(AT_ONCE) or step != shortened(step, 0.01)
        assert shortened(step, 1) == step
    assert "rife OUT --steps 85 --decay 15" == shortened("rife OUT --steps 8500 --decay 1500", 0.01)
    assert "x --minutes 0.5 --rate 1e-3" == shortened("x --minutes 50 --rate 1e-3", 0.01)
    assert "corpus A B --task i2v --share 0.01" == shortened("corpus A B --task i2v", 0.01)


def test_a_rehearsal_is_never_written_over_the_trained_weights(monkeypatch, tmp_path, capsys):
    """It learns nothing; the default would lose a day's work."""
    monkeypatch.setattr("sys.argv", ["train", str(tmp_path), "--share", "0.01"])
    with pytest.raises(SystemExit):
        main()

    assert "name another WEIGHTS" in capsys.readouterr().err
    assert [] == list(tmp_path.iterdir())
