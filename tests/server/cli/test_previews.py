"""Previews of `wan-local generate`."""

from __future__ import annotations

import io
from base64 import b64encode

import pytest
import typer
from PIL import Image
from rich.console import Console

from server.cli import progress
from server.cli.exits import Exit
from server.cli.previews import in_blocks, with_previews
from server.cli.progress import Bar, JsonLines, PlainLines
from wan_local.events import Previewed, StepDone


def a_jpeg():
    """Red above, blue below."""
    image = Image.new("RGB", (64, 32), "red")
    image.paste("blue", (0, 16, 64, 32))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95)
    return file.getvalue()


def test_a_picture_is_drawn_in_its_colours():
    """Each character is two pixels, one above the other."""
    text = in_blocks(a_jpeg(), columns=8)
    lines = text.plain.splitlines()
    styles = [str(span.style) for span in text.spans]

    assert ["▀" * 8, "▀" * 8] == lines
    assert styles[0].startswith("rgb(25")
    assert " on rgb(0,0,25" in styles[-1]


def test_a_terminal_gets_pictures_above_the_bars(monkeypatch):
    """And the bars go on."""
    screen = io.StringIO()
    monkeypatch.setattr(
        progress, "Console", lambda stderr: Console(file=screen, force_terminal=True, width=100)
    )
    with with_previews(Bar(), "terminal") as shown:
        shown.show(StepDone(1, 2))
        shown.show(Previewed(1, 2, b64encode(a_jpeg()).decode()))
        shown.show(StepDone(2, 2))

    assert "▀" in screen.getvalue()
    assert "2/2" in screen.getvalue()


@pytest.mark.parametrize("lines", [PlainLines, JsonLines])
def test_without_a_terminal_there_is_nothing_to_draw_on(lines, capsys):
    """A log file full of blocks helps nobody."""
    with pytest.raises(typer.Exit) as left:
        with_previews(lines(), "terminal")

    assert Exit.USAGE == left.value.exit_code
    assert "name a folder instead" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_said_before_anything_starts(tmp_path, capsys):
    """A video takes minutes, a mistyped path should not."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(typer.Exit):
        with_previews(PlainLines(), str(tmp_path / "file" / "pictures"))
    assert "--preview" in capsys.readouterr().err
