"""What the engine says -> the lines of a job's log, as its client reads them.

Clients draw their bars from `denoise 3/27` and `decode 41/81`: the stage's name, what is done, what
there is to do. Keep the form.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from server.jobs.model import LogEntry, LogLevel
from wan_local.events import (
    ComponentLoaded,
    Event,
    Finished,
    FramesRead,
    FramesWritten,
    Noted,
    Previewed,
    Stage,
    StageStarted,
    StepDone,
    TokensWritten,
    Warned,
)

BETWEEN = 1.0
"""Seconds between two lines of progress, at least; the last of a stage is always said."""

STAGES: dict[Stage, str] = {
    Stage.CHECK: "check: looking at the prompt and what came with it",
    Stage.EXPAND: "expand: a language model writes the prompt out",
    Stage.LOAD: "load: the model is being brought into memory",
    Stage.PROMPT: "prompt: encoding the text",
    Stage.CONDITION: "condition: encoding what came with the request",
    Stage.DENOISE: "denoise: making the video",
    Stage.DECODE: "decode: turning it into frames",
}


class Narrator:
    """Turns the events of one attempt into lines.

    Args:
        clock: Unix seconds, for the lines.
        timer: Seconds that never jump, for the pauses between them.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._timer = timer
        self._last_progress = float("-inf")

    def line(self, event: Event) -> LogEntry | None:
        """Return the line for *event*, or None if the one before says enough."""
        match event:
            case StageStarted(stage=stage):
                return self.say(STAGES[stage])
            case ComponentLoaded(component=component, number=number, total=total):
                return self.say(f"{Stage.LOAD} {number}/{total}: {component}")
            case TokensWritten(done=done, total=total):
                return self._progress(Stage.EXPAND, done, total)
            case StepDone(step=step, steps=steps):
                return self._progress(Stage.DENOISE, step, steps)
            case FramesRead() | Previewed():  # of a stage that has been said; a picture
                return None
            case FramesWritten(done=done, total=total):
                return self._progress(Stage.DECODE, done, total)
            case Warned(message=message):
                return self.say(message, "WARN")
            case Noted(message=message):
                return self.say(message)
            case Finished(timings=timings):
                return self.say(_summary(timings))

    def say(self, message: str, level: LogLevel = "INFO") -> LogEntry:
        """Return a line that says *message* now."""
        return LogEntry(self._clock(), level, message)

    def _progress(self, stage: Stage, done: int, total: int) -> LogEntry | None:
        now = self._timer()
        if done < total and now - self._last_progress < BETWEEN:
            return None
        self._last_progress = now
        return self.say(f"{stage} {done}/{total}")


def _summary(timings: dict[str, float]) -> str:
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in timings.items())
    return f"done in {sum(timings.values()):.1f} s" + (f" ({stages})" if stages else "")
