"""Whole runs of the engine in which something is checked, refused or written out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.wan_local.plans import a_plan
from tests.wan_local.small_companions import write_language_model
from tests.watching import children
from wan_local.engine import open_engine
from wan_local.errors import ContentRefused
from wan_local.events import Finished, Stage, StageStarted, TokensWritten
from wan_local.plan import PromptSpec, SafetySpec


@pytest.fixture
def fresh(weights):
    """An engine that has loaded nothing yet."""
    engine = open_engine(weights, "cpu")
    yield engine
    engine.close()


def test_a_refused_video_leaves_no_file(engine, weights, tmp_path):
    """Flagged in the middle of the stream, with frames in ffmpeg already."""
    classifier = str(weights / "nsfw_image_detection")
    safety = SafetySpec(check_output=True, classifier=classifier)
    assert isinstance(list(engine.run(a_plan(safety=safety), tmp_path / "a.mp4"))[-1], Finished)
    (tmp_path / "a.mp4").unlink()
    strict = replace(safety, threshold=0.0, samples=1)
    run, events = engine.run(a_plan(safety=strict), tmp_path / "a.mp4"), []
    with pytest.raises(ContentRefused, match="The output was flagged") as refused:
        events.extend(run)

    assert "in frame 5 of 9" in str(refused.value)
    assert frozenset() == engine.held
    assert [] == list(tmp_path.iterdir())
    assert [] == children()


def test_a_refused_prompt_costs_no_gpu(fresh, tmp_path):
    """It is read before anything is loaded."""
    (tmp_path / "words.txt").write_text("gun")
    safety = SafetySpec(check_input=True, words=str(tmp_path / "words.txt"))
    with pytest.raises(ContentRefused):
        list(fresh.run(a_plan(safety=safety, prompt=PromptSpec(text="a gun")), tmp_path / "a.mp4"))

    assert frozenset() == fresh._models.loaded


def test_an_expanded_prompt_is_the_one_that_is_used(fresh, tmp_path):
    """And the one that is answered with: the same video as if it had been written so."""
    folder = write_language_model(tmp_path / "language", "a red cat bakes")
    expanding = PromptSpec(text="a cat", expand=True, expander=str(folder))
    *events, finished = fresh.run(a_plan(prompt=expanding), tmp_path / "a.mp4")
    list(fresh.run(a_plan(prompt=PromptSpec(text="a red cat bakes")), tmp_path / "b.mp4"))

    assert "a red cat bakes" == finished.prompt
    assert StageStarted(Stage.EXPAND) == events[0]
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_cancel_is_heard_while_the_prompt_is_written_out(fresh, tmp_path):
    """Five hundred tokens take a CPU a minute."""
    folder = write_language_model(tmp_path / "language", "on and on...")
    expanding = PromptSpec(text="a cat", expand=True, expander=str(folder))
    run = fresh.run(a_plan(prompt=expanding), tmp_path / "a.mp4")
    while not isinstance(next(run), TokensWritten):
        pass
    run.close()

    assert frozenset() == fresh.held
