"""The queue between whoever makes frames and who stores them."""

from __future__ import annotations

import threading

import torch

from wan_local.video.belt import CHUNKS_WAITING, Belt


def chunks(number):
    return [torch.full((1, 2, 2, 3), n, dtype=torch.uint8) for n in range(number)]


def test_chunks_arrive_in_order():
    """A frame out of place is seen at once."""
    arrived = []
    belt = Belt("test", lambda chunk: arrived.append(int(chunk[0, 0, 0, 0])))
    for chunk in chunks(20):
        assert belt.put(chunk, within=None)
    belt.end()

    assert belt.through(within=None)
    assert list(range(20)) == arrived


def test_a_full_belt_says_so_in_time():
    """The maker may be cancelled while it waits."""
    go = threading.Event()
    belt = Belt("test", lambda _: go.wait())
    first, *rest, last = chunks(CHUNKS_WAITING + 2)
    belt.put(first, within=None)
    taken = [belt.put(chunk, within=5) for chunk in rest]

    assert all(taken)
    assert not belt.put(last, within=0.01)
    assert not belt.through(within=0.01)
    go.set()
    belt.drop()
    assert belt.through(within=0)


def test_after_an_error_nobody_is_blocked_and_the_reason_is_kept():
    """A full disk is found by the thread, and told by whoever writes next."""

    def refuse(_):
        raise OSError(28, "No space left on device")

    belt = Belt("test", refuse)
    for chunk in chunks(CHUNKS_WAITING + 5):
        assert belt.put(chunk, within=5)
    belt.end()

    assert belt.through(within=5)
    assert belt.broken
    assert "No space left" in str(belt.error)


def test_what_is_dropped_is_not_consumed():
    """A cancelled job's frames are nobody's work."""
    go, arrived = threading.Event(), []

    def consume(chunk):
        arrived.append(chunk)
        go.wait()

    belt = Belt("test", consume)
    for chunk in chunks(CHUNKS_WAITING + 1):
        belt.put(chunk, within=5)
    threading.Timer(0.05, go.set).start()
    belt.drop()

    assert len(arrived) <= 1
