import io
import json

from rich.console import Console

from server.cli import progress
from server.cli.progress import Bar, JsonLines, PlainLines
from wan_local.events import ComponentLoaded, Stage, StageStarted, StepDone, Warned

EVENTS = [
    StageStarted(Stage.LOAD),
    ComponentLoaded("vae", 4, 4),
    StageStarted(Stage.DENOISE),
    StepDone(1, 2),
    StepDone(2, 2),
    Warned("the film interpolator is not part of this version"),
]


def show(display):
    with display as shown:
        for event in EVENTS:
            shown.show(event)


def test_json_lines_are_one_object_each(capsys):
    """A program reads them line by line, and goes by `kind`."""
    show(JsonLines())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert ["stage", "loaded", "stage", "step", "step", "warning"] == [
        line["kind"] for line in lines
    ]
    assert {"step": 2, "steps": 2, "kind": "step"} == lines[4]


def test_plain_lines_go_to_stderr(capsys):
    """`wan-local generate ... > path.txt` must put the path there and nothing else."""
    show(PlainLines())
    out, err = capsys.readouterr()

    assert "" == out
    assert ["loading the model", "denoising", "step 1 of 2", "step 2 of 2"] == err.splitlines()[:4]
    assert "warning: the film interpolator" in err


def test_every_stage_has_a_title():
    """A stage that is added to the engine must not break the bar of every generation."""
    assert set(Stage) == set(progress.TITLES)


def test_the_bar_ends_full(monkeypatch):
    """What is left on the screen should say that all of it was done."""
    screen = io.StringIO()
    monkeypatch.setattr(
        progress, "Console", lambda stderr: Console(file=screen, force_terminal=True, width=100)
    )
    show(Bar())
    last = screen.getvalue()

    assert "loading the model" in last
    assert "4/4" in last
    assert "2/2" in last
    assert "warning: the film interpolator" in last
