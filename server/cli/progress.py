"""How a generation looks on the screen: a bar on a terminal, lines in a file, JSON for programs."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Protocol, Self

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from wan_local.events import (
    ComponentLoaded,
    Event,
    FramesRead,
    FramesWritten,
    Noted,
    Stage,
    StageStarted,
    StepDone,
    TokensWritten,
    Warned,
)

TITLES = {
    Stage.CHECK: "checking the input",
    Stage.EXPAND: "expanding the prompt",
    Stage.LOAD: "loading the model",
    Stage.PROMPT: "reading the prompt",
    Stage.CONDITION: "reading the input",
    Stage.DENOISE: "denoising",
    Stage.DECODE: "decoding",
}


class Progress(Protocol):
    """Shows the engine's events as they come."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the screen tidy, also after an error."""
        ...

    def show(self, event: Event) -> None:
        """Show one event."""
        ...


class _Lines:
    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        sys.stdout.flush()


class JsonLines(_Lines):
    """One JSON object a line, on stdout."""

    def show(self, event: Event) -> None:
        """Print the event's fields, `kind` among them."""
        typer.echo(orjson.dumps(event))


class PlainLines(_Lines):
    """One sentence a line, on stderr, so that stdout holds the result alone."""

    def show(self, event: Event) -> None:
        """Print the event if a reader of a log file would want it."""
        if isinstance(event, StageStarted):
            typer.echo(TITLES[event.stage], err=True)
        elif isinstance(event, StepDone):
            typer.echo(f"step {event.step} of {event.steps}", err=True)
        elif isinstance(event, Warned):
            typer.echo(f"warning: {event.message}", err=True)
        elif isinstance(event, Noted):
            typer.echo(event.message, err=True)


class Bar:
    """A bar per stage, on stderr."""

    def __init__(self) -> None:
        self._bars = RichProgress(
            TextColumn("{task.description:<18}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        self._current = self._bars.add_task("starting", total=None)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the last state on the screen."""
        self._bars.stop()

    def show(self, event: Event) -> None:
        """Move the bar of the current stage."""
        if isinstance(event, StageStarted):
            self._finish_current()
            self._current = self._bars.add_task(TITLES[event.stage], total=None)
        elif isinstance(event, ComponentLoaded):
            self._bars.update(self._current, completed=event.number, total=event.total)
        elif isinstance(event, StepDone):
            self._bars.update(self._current, completed=event.step, total=event.steps)
        elif isinstance(event, FramesRead):
            self._bars.update(self._current, completed=event.done)
        elif isinstance(event, FramesWritten | TokensWritten):
            self._bars.update(self._current, completed=event.done, total=event.total)
        elif isinstance(event, Warned):
            self._bars.console.print(f"warning: {event.message}", markup=False)
        elif isinstance(event, Noted):
            self._bars.console.print(event.message, markup=False)

    def print(self, text: Text) -> None:
        """Print *text* above the bars."""
        self._bars.console.print(text)

    def _finish_current(self) -> None:
        task = next(t for t in self._bars.tasks if t.id == self._current)
        if task.total is None:
            # A stage without steps is one step long, and it is done.
            self._bars.update(self._current, completed=1, total=1)


def on_terminal() -> bool:
    """Whether someone is looking."""
    return sys.stderr.isatty()
