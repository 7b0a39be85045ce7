"""Previews of `wan-local generate`: files in a folder, or coarse pictures on the terminal."""

from __future__ import annotations

import io
from base64 import b64decode
from pathlib import Path
from types import TracebackType
from typing import Self

from PIL import Image
from rich.text import Text

from server.cli.exits import Exit, give_up
from server.cli.progress import Bar, Progress
from wan_local.events import Event, Previewed

TERMINAL = "terminal"
COLUMNS = 64
"""Of a picture on the terminal; a line of text is two lines of it."""


def with_previews(progress: Progress, where: str) -> Progress:
    """Return *progress*, showing previews as well: on the terminal, or as files in a folder."""
    if where == TERMINAL:
        if not isinstance(progress, Bar):
            give_up(Exit.USAGE, "--preview terminal: there is no terminal; name a folder instead")
        return PreviewsOnTerminal(progress)
    try:
        Path(where).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        give_up(Exit.USAGE, f"--preview {where}: {error}")
    return PreviewFiles(progress, Path(where))


class _Beside:
    """Another progress, to which everything is shown as well."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __enter__(self) -> Self:
        """Begin to show."""
        self._progress.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the screen tidy."""
        self._progress.__exit__(kind, error, traceback)


class PreviewFiles(_Beside):
    """Each preview as `step-004.jpg`."""

    def __init__(self, progress: Progress, folder: Path) -> None:
        super().__init__(progress)
        self._folder = folder

    def show(self, event: Event) -> None:
        """Show *event*, and write it down if it is a picture."""
        self._progress.show(event)
        if isinstance(event, Previewed):
            (self._folder / f"step-{event.step:03d}.jpg").write_bytes(b64decode(event.jpeg))


class PreviewsOnTerminal(_Beside):
    """Each preview in blocks above the bars."""

    def __init__(self, bars: Bar) -> None:
        super().__init__(bars)
        self._bars = bars

    def show(self, event: Event) -> None:
        """Show *event*, and draw it if it is a picture."""
        self._progress.show(event)
        if isinstance(event, Previewed):
            self._bars.print(in_blocks(b64decode(event.jpeg)))


def in_blocks(jpeg: bytes, columns: int = COLUMNS) -> Text:
    """Return *jpeg* as text: upper half blocks, whose two colours are two pixels."""
    with Image.open(io.BytesIO(jpeg)) as image:
        rows = max(1, round(columns * image.height / image.width / 2))
        small = image.convert("RGB").resize((columns, 2 * rows))
    text = Text(no_wrap=True)
    for row in range(rows):
        for column in range(columns):
            upper, lower = (small.getpixel((column, 2 * row + half)) for half in (0, 1))
            text.append("▀", f"{_colour(upper)} on {_colour(lower)}")
        text.append("\n")
    return text


def _colour(pixel: object) -> str:
    return "rgb({},{},{})".format(*pixel) if isinstance(pixel, tuple) else "black"
