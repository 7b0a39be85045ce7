"""The two layers every request passes: the door names and logs it, the net answers its errors.

The net hangs inside the layer that adds CORS headers, so that a page may read its errors too.
"""

from __future__ import annotations

import logging
import time
from random import getrandbits

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.errors import answer_to
from server.telemetry import request_id

log = logging.getLogger(__name__)


class Door:
    """ASGI layer: every answer leaves with an `x-fal-request-id`, and a line in the log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under a name."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Only a name to find in the log; a system call here would let go of the interpreter's lock.
        id = f"{getrandbits(128):032x}"
        status = 0
        begun = time.perf_counter()

        async def signed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message["headers"]
                # An answer about a job carries the job's id already.
                if not any(name == b"x-fal-request-id" for name, _ in headers):
                    message["headers"] = [*headers, (b"x-fal-request-id", id.encode())]
            await send(message)

        token = request_id.set(id)
        try:
            await self._app(scope, receive, signed)
        finally:
            # Polls are many and say nothing new.
            level = logging.DEBUG if scope["method"] == "GET" and status < 400 else logging.INFO
            if log.isEnabledFor(level):
                took = (time.perf_counter() - begun) * 1000
                path = shown(scope["path"])
                log.log(level, "%s %s %d %.1f ms", scope["method"], path, status, took)
            request_id.reset(token)


class Net:
    """ASGI layer: turns exceptions into answers; none leaves with a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and see that it is answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            log.info("the client left before its request was complete")
        except Exception as error:
            if begun:
                # Half an answer cannot be taken back: the server closes the connection.
                raise
            await answer_to(error, shown(scope["path"]))(scope, receive, send)


def shown(path: str) -> str:
    """Return *path* as it may stand in a log: the URL of a file is the secret that protects it."""
    return path.partition("/cdn/")[0] + "/cdn/..." if "/cdn/" in path else path
