"""What clients ask for in these tests."""

from __future__ import annotations

from server.jobs.model import NewJob


def a_request(**changes: object) -> NewJob:
    """Return a request that differs from the plainest one in *changes*."""
    return NewJob(**{"endpoint": "e", "input": {"prompt": "a fox"}, "seed": 1} | changes)
