"""How the command ends: its exit codes, and which error means which.

To add a code, add a member here and its sentence to `MEANINGS`; `--help` prints the table.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NoReturn

import typer


class Exit(IntEnum):
    """What the shell gets to see."""

    OK = 0
    FAILED = 1
    USAGE = 2
    WEIGHTS_MISSING = 3
    NO_GPU = 4
    CONTENT_REFUSED = 5
    CANCELLED = 6


MEANINGS: dict[Exit, str] = {
    Exit.OK: "done",
    Exit.FAILED: "it was tried and failed; the sentence on stderr says why",
    Exit.USAGE: "the command or the input cannot be right, and nothing was started",
    Exit.WEIGHTS_MISSING: "the checkpoint is not on this machine; stderr holds the command",
    Exit.NO_GPU: "no such GPU here, or not enough memory on it",
    Exit.CONTENT_REFUSED: "a safety checker flagged the input or the output; nothing was written",
    Exit.CANCELLED: "stopped by Ctrl-C or SIGTERM; nothing is left of it",
}

# class name in wan_local.errors -> exit code; the names arrive from another process
ENGINE_EXITS = {
    "InvalidPlan": Exit.USAGE,
    "BadMedia": Exit.USAGE,
    "UnknownModel": Exit.USAGE,
    "LoraRefused": Exit.USAGE,
    "WeightsMissing": Exit.WEIGHTS_MISSING,
    "OutOfMemory": Exit.NO_GPU,
    "ContentRefused": Exit.CONTENT_REFUSED,
}


def exit_table() -> str:
    """Return the table of exit codes, as `--help` prints it."""
    rows = [f"{code.value}  {meaning}" for code, meaning in MEANINGS.items()]
    return "Exit codes:\n\n\b\n" + "\n".join(rows)


def give_up(code: Exit, message: str) -> NoReturn:
    """Print *message* on stderr and end the command with *code*."""
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(code)
