"""An exchange ends when its time does, whatever the other side is sending."""

from __future__ import annotations

import contextlib
import socket
import threading

import httpcore
import pytest

from server.media.hurried import HurriedBackend


class Over(Exception):
    """The time is."""


@pytest.fixture
def dripping():
    """A port where headers come, a byte at a time, and never end."""
    over = threading.Event()

    def drip():
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
            while not over.wait(0.01):
                connection.sendall(b"y")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip)
        thread.start()
        yield listener.getsockname()[1]
        over.set()
        thread.join()


def test_every_step_asks_and_what_it_is_told_ends_the_exchange(dripping):
    """Also before the first byte of a body, where httpcore would read on and on."""
    answers = iter([5.0] * 20)

    def left():
        try:
            return next(answers)
        except StopIteration:
            raise Over from None

    backend = HurriedBackend(httpcore.SyncBackend(), left)
    with pytest.raises(Over), httpcore.ConnectionPool(network_backend=backend) as pool:
        pool.request("GET", f"http://127.0.0.1:{dripping}/")


def test_a_step_waits_no_longer_than_it_is_told():
    """A server that says nothing at all."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        backend = HurriedBackend(httpcore.SyncBackend(), lambda: 0.05)
        with (
            pytest.raises(httpcore.ReadTimeout),
            httpcore.ConnectionPool(network_backend=backend) as pool,
        ):
            pool.request("GET", f"http://127.0.0.1:{silent.getsockname()[1]}/")
