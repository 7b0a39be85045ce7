"""Waiting for a job to change: from the store's threads to the event loop's coroutines."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from server.jobs.store import JobStore

Waiter = tuple[asyncio.AbstractEventLoop, asyncio.Event]


class Watcher:
    """Tells coroutines that a job has changed."""

    def __init__(self, jobs: JobStore) -> None:
        self._lock = threading.Lock()
        self._waiters: dict[str, set[Waiter]] = {}
        self._leave = jobs.listen(self._notice)

    def close(self) -> None:
        """Stop listening to the store."""
        self._leave()

    @contextlib.contextmanager
    def watch(self, id: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set on each change of job *id*; whoever waits clears it."""
        event = asyncio.Event()
        waiter = (asyncio.get_running_loop(), event)
        with self._lock:
            self._waiters.setdefault(id, set()).add(waiter)
        try:
            yield event
        finally:
            with self._lock:
                self._waiters[id].discard(waiter)
                if not self._waiters[id]:
                    del self._waiters[id]

    def _notice(self, id: str) -> None:
        # Called for every change of every job: most have nobody waiting.
        if id not in self._waiters:
            return
        with self._lock:
            waiters = list(self._waiters.get(id, ()))
        for loop, event in waiters:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)


async def wait(event: asyncio.Event, seconds: float) -> bool:
    """Wait for *event* and return whether it came within *seconds*."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
