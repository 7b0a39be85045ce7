"""Messages as JSON lines over a Unix socket: what both ends of a slot's connection share."""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel

SEND_TIMEOUT = 5
"""Whole seconds after which a peer that reads nothing is given up."""


class Lines:
    """One connection. Any thread may send or close; one thread receives."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = b""
        self._sending = threading.Lock()
        # Not settimeout(): that would put the socket into non-blocking mode for both directions.
        timeout = struct.pack("@ll", SEND_TIMEOUT, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)

    def send(self, message: BaseModel) -> None:
        """Send one message whole.

        Raises:
            OSError: If the peer is gone or reads nothing.
        """
        with self._sending:
            self._connection.sendall(message.model_dump_json().encode() + b"\n")

    def receive(self, timeout: float | None = None) -> bytes | None:
        """Return the next line, or None at the end of the connection.

        Raises:
            TimeoutError: If none came in *timeout* seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self._received:
            self._await(deadline)
            try:
                chunk = self._connection.recv(65536)
            except OSError:
                return None
            if not chunk:
                return None
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        return line

    def peer_pid(self) -> int:
        """Return the process that listens at the other end (Linux: SO_PEERCRED)."""
        credentials = self._connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid: int = struct.unpack("3i", credentials)[0]
        return pid

    def close(self) -> None:
        """Hang up; a thread that is receiving sees the end."""
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            # The peer was faster.
            return
        finally:
            self._connection.close()

    def _await(self, deadline: float | None) -> None:
        poll = select.poll()
        try:
            poll.register(self._connection, select.POLLIN)
        except ValueError:
            # Closed by another thread: recv() will say so.
            return
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        if not poll.poll(left):
            raise TimeoutError


def listen(path: Path) -> socket.socket:
    """Listen at *path*, in the place of whatever process listened there before."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path.unlink(missing_ok=True)
    with _short(path) as address:
        listener.bind(address)
    listener.listen(1)
    return listener


def connect(path: Path) -> Lines:
    """Connect to the process that listens at *path*.

    Raises:
        OSError: If none does.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(path) as address:
            connection.connect(address)
    except OSError:
        connection.close()
        raise
    return Lines(connection)


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Give *path* by way of an open folder: a socket's address ends at 107 bytes."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
