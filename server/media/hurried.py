"""Exchanges over the network whose every step asks how much time is left for the whole.

httpcore's own timeouts are for one read: a server that sends a byte now and then, of a body or of
its headers, would keep a thread waiting for ever.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from typing import Any

import httpcore

Left = Callable[[], float]
"""Returns the seconds that the next step may take, or raises what ends the exchange."""


class HurriedBackend(httpcore.NetworkBackend):
    """Connects as *backend* does, for as long as *left* says."""

    def __init__(self, backend: httpcore.NetworkBackend, left: Left) -> None:
        self._backend = backend
        self._left = left

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - replaced by what is left
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect within the time that is left."""
        stream = self._backend.connect_tcp(host, port, self._left(), local_address, socket_options)
        return _HurriedStream(stream, self._left)


class _HurriedStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, left: Left) -> None:
        self._stream = stream
        self._left = left

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - as above
        return self._stream.read(max_bytes, self._left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - as above
        self._stream.write(buffer, self._left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - as above
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, self._left())
        return _HurriedStream(stream, self._left)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
