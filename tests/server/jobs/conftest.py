"""A store, opened as often as a test likes, with a clock it can turn."""

from __future__ import annotations

import pytest

from server.jobs.store import JobStore


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def opened(tmp_path, clock):
    """Open the same store as often as a test restarts the server."""
    stores = []

    def open_store(**settings):
        stores.append(JobStore(tmp_path / "jobs.db", clock=clock, busy_timeout=0.2, **settings))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


@pytest.fixture
def store(opened):
    return opened()
