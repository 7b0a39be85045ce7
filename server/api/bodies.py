"""Request bodies, counted as they come: never more than allowed, never for ever."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request

from server.api.errors import Refused

SLOWEST = 16 * 1024
"""Bytes a second that a body must keep up on the whole: a byte a minute is an attack."""
DRAINED = 64 * 2**20
"""Bytes read on and dropped after a body has turned out too long. The connection is reset if some
are left, and the client sees that instead of the 413: fal_client would send it all ten times."""


async def read_body(request: Request, limit: int, patience: float) -> bytes:
    """Return the whole body.

    Raises:
        Refused: As in `chunks`.
    """
    return b"".join([chunk async for chunk in chunks(request, limit, patience)])


async def chunks(request: Request, limit: int, patience: float) -> AsyncIterator[bytes]:
    """Yield the body as it comes.

    Args:
        request: Whose body it is.
        limit: Bytes it may have.
        patience: Seconds to wait for the next byte.

    Raises:
        Refused: 413 if it is longer than *limit*, whatever length was declared; 408 if it stops or
            crawls.
        ClientDisconnect: If the client left.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise await _too_large(request, limit, patience)
    clock = asyncio.get_running_loop().time
    begun, received = clock(), 0
    while True:
        allowed = begun + patience + received / SLOWEST - clock()
        try:
            async with asyncio.timeout(min(patience, allowed)):
                message = await request.receive()
        except TimeoutError:
            raise Refused(408, {"detail": "The request body did not arrive in time"}) from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        received += len(chunk)
        more: bool = message.get("more_body", False)
        if received > limit:
            raise await _too_large(request, limit, patience, more=more)
        if chunk:
            yield chunk
        if not more:
            return


async def _too_large(
    request: Request, limit: int, patience: float, *, more: bool = True
) -> Refused:
    dropped = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience):
            while more and dropped < DRAINED:
                message = await request.receive()
                dropped += len(message.get("body", b""))
                more = message.get("more_body", False)
    return Refused(413, {"detail": f"The request body is larger than {limit} bytes"})
