"""Header fields, read straight from the ASGI scope.

Every poll passes several layers that each want one header: building Starlette's mapping in each of
them took longer than answering.
"""

from __future__ import annotations

from starlette.types import Scope


def field(scope: Scope, name: bytes) -> str | None:
    """Return the value of the header *name*, which is given in lower case, or None."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None
