"""The lines of a job's log."""

from __future__ import annotations

import pytest

from server.dispatch.narration import STAGES, Narrator
from server.jobs.model import LogEntry
from wan_local.events import (
    ComponentLoaded,
    Finished,
    FramesWritten,
    Noted,
    Previewed,
    Stage,
    StageStarted,
    StepDone,
    TokensWritten,
    Warned,
)
from wan_local.geometry import Size


class Timer:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def timer():
    return Timer()


@pytest.fixture
def narrator(timer):
    return Narrator(clock=lambda: 1000.0, timer=timer)


def test_progress_is_stage_done_of_total(narrator, timer):
    """Clients draw bars from it: this form is a promise."""
    said = [narrator.line(StepDone(3, 27))]
    timer.now += 1
    said.append(narrator.line(FramesWritten(41, 81)))

    assert ["denoise 3/27", "decode 41/81"] == [line.message for line in said]


def test_fast_steps_are_told_once_a_second_and_at_the_end(narrator, timer):
    """A turbo model makes ten steps a second; the log is for people."""
    said = []
    for step in range(1, 31):
        said.append(narrator.line(StepDone(step, 30)))
        timer.now += 0.125

    assert ["1/30", "9/30", "17/30", "25/30", "30/30"] == [
        line.message.removeprefix("denoise ") for line in said if line
    ]


def test_slow_steps_are_all_told(narrator, timer):
    """A step of the real model takes seconds."""
    said = []
    for step in range(1, 5):
        said.append(narrator.line(StepDone(step, 4)))
        timer.now += 1.5

    assert 4 == len([line for line in said if line])


@pytest.mark.parametrize("stage", Stage)
def test_every_stage_is_told_in_words(narrator, stage):
    """A new stage of the engine needs its sentence here."""
    assert STAGES[stage] == narrator.line(StageStarted(stage)).message
    assert STAGES[stage].startswith(f"{stage}: ")


def test_loading_is_told_part_by_part(narrator):
    """The first job after a start waits for 70 GB, and should see that something happens."""
    line = narrator.line(ComponentLoaded("transformer", 2, 4))

    assert "load 2/4: transformer" == line.message


def test_a_picture_is_no_line(narrator):
    """It is shown, not told."""
    assert None is narrator.line(Previewed(2, 4, "/9j/"))


def test_an_expansion_is_told_by_its_tokens(narrator):
    """A CPU takes a minute for them."""
    assert "expand 7/512" == narrator.line(TokensWritten(7, 512)).message


def test_a_warning_stands_out(narrator):
    """It says what the client did not get."""
    assert LogEntry(1000.0, "WARN", "no safety checker here") == narrator.line(
        Warned("no safety checker here")
    )


def test_a_note_is_a_line(narrator):
    """What became of a LoRA is worth reading, and nothing to worry about."""
    assert LogEntry(1000.0, "INFO", "60 of 60 keys") == narrator.line(Noted("60 of 60 keys"))


def test_the_end_tells_where_the_time_went(narrator):
    """The first question of everybody who waited."""
    finished = Finished("", Size(112, 64), 17, 16.0, 1, {"prompt": 0.14, "denoise": 8.0})

    assert "done in 8.1 s (prompt 0.1, denoise 8.0)" == narrator.line(finished).message
