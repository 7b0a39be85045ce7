"""Why a file is not taken, inside the process that decodes it."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """The file is not taken.

    Args:
        message: The sentence its owner gets.
        type: fal's error type.
        ctx: The limits it passed, as fal names them.
    """

    def __init__(self, message: str, *, type: str, **ctx: Any) -> None:
        super().__init__(message)
        self.type = type
        self.ctx = ctx
