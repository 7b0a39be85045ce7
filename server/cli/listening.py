"""Two doors, HTTP and HTTPS, on one event loop.

Granian is embedded rather than started, because both doors must lead to the same process: the
job store is answered from its memory, and fal's Python client speaks HTTPS only.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from granian.constants import Interfaces
from granian.server.embed import Server

CLOSING_PATIENCE = 3.0
"""Seconds that open requests (downloads, event streams) get once the server stops."""


class PortTaken(Exception):
    """Nobody can listen there: the port is another program's, or the address not ours."""


@dataclass(frozen=True, slots=True)
class Door:
    """One address to listen on, and for HTTPS the certificate and key to show there."""

    host: str
    port: int
    pair: tuple[Path, Path] | None = None


@contextmanager
def reserve(host: str, port: int, pair: tuple[Path, Path] | None = None) -> Iterator[Door]:
    """Find out that *port* is free and hold it for the length of the block; 0 takes any free one.

    Granian binds with SO_REUSEPORT and cannot say which port it got for 0: two servers would
    share one port without a word. So the port is tried alone first, and then held by a socket
    that never listens.

    Raises:
        PortTaken: If something listens there, or the address is not this machine's.
    """
    try:
        held = _hold(host, port)
    except OSError as error:
        msg = f"cannot listen on {host}:{port}: {error.strerror}"
        raise PortTaken(msg) from error
    with held:
        yield Door(host, held.getsockname()[1], pair)


def _hold(host: str, port: int) -> socket.socket:
    family, _, _, _, address = _resolve(host, port)
    with socket.socket(family, socket.SOCK_STREAM) as alone:
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind(address)
        alone.listen(1)
        address = alone.getsockname()
    held = socket.socket(family, socket.SOCK_STREAM)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(address)
    except OSError:
        held.close()
        raise
    return held


async def listen(
    app: Any, doors: list[Door], *, until: asyncio.Event, on_open: Callable[[], None]
) -> None:
    """Serve *app* at every door until *until* is set; *on_open* is called once all are open."""
    logging.getLogger("_granian").addFilter(_not_the_experimental_warning)
    requests = OpenRequests(app)
    servers = [_server(requests, door) for door in doors]
    serving = [asyncio.create_task(server.serve()) for server in servers]
    try:
        for door in doors:
            await _until_open(door, serving)
        on_open()
        stop = asyncio.create_task(until.wait())
        await asyncio.wait([stop, *serving], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
    finally:
        for server in servers:
            server.stop()  # type: ignore[no-untyped-call] # granian is half typed
        await asyncio.wait(serving, timeout=CLOSING_PATIENCE)
        requests.cut_off()
        await asyncio.gather(*serving, return_exceptions=True)
    for task in serving:
        task.result()


class OpenRequests:
    """The app, and the requests that are in it now.

    An event stream ends when its job does, which may be in an hour, and granian waits for it:
    without a way to cut it off, one open browser tab keeps the server from stopping.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on (ASGI)."""
        task = asyncio.current_task()
        if task is None:
            msg = "a request outside any task"
            raise RuntimeError(msg)
        self._tasks.add(task)
        try:
            await self._app(scope, receive, send)
        finally:
            self._tasks.discard(task)

    def cut_off(self) -> None:
        """Cancel what is still open."""
        for task in self._tasks:
            task.cancel()


def _server(app: Any, door: Door) -> Server:
    certificate, key = door.pair or (None, None)
    return Server(
        app,
        address=door.host,
        port=door.port,
        interface=Interfaces.ASGINL,
        ssl_cert=certificate,
        ssl_key=key,
        # Logging is set up once, by the command, for every part of the process.
        log_enabled=False,
        backlog=1024,
    )


async def _until_open(door: Door, serving: list[asyncio.Task[None]]) -> None:
    """Wait until a connection is accepted: only then may a client be told to come."""
    while True:
        for task in serving:
            if task.done():
                task.result()
        with suppress(OSError):
            _, writer = await asyncio.open_connection(*_resolve(door.host, door.port)[4][:2])
            writer.close()
            return
        await asyncio.sleep(0.02)


def _resolve(host: str, port: int) -> Any:
    return socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0]


def _not_the_experimental_warning(record: logging.LogRecord) -> bool:
    # True and of no use to the operator: the embedded server is what the tests run against.
    return "Embedded server is experimental" not in record.getMessage()
