"""Whose turn it is to be prepared."""

from __future__ import annotations

import threading
from collections import Counter
from heapq import heappop, heappush

from server.jobs.model import Job


class Turns:
    """Jobs in the order of the queue, but no more than *each* of one owner at a time.

    Without that, one owner's slow downloads would hold up the jobs of all the others.
    """

    def __init__(self, each: int) -> None:
        self._each = each
        self._lines: dict[str, list[tuple[int, int, str]]] = {}
        self._busy: Counter[str] = Counter()
        self._known: set[str] = set()
        self._changed = threading.Condition()
        self._closed = False

    def join(self, job: Job) -> None:
        """Line *job* up, unless it is known already."""
        with self._changed:
            if job.id not in self._known:
                self._known.add(job.id)
                line = self._lines.setdefault(job.request.owner, [])
                heappush(line, (job.request.priority, job.number, job.id))
                self._changed.notify()

    def take(self) -> tuple[str, str] | None:
        """Wait for the next job and return its owner and id; None once it is closed."""
        with self._changed:
            while not self._closed:
                heads = [
                    (line[0], owner)
                    for owner, line in self._lines.items()
                    if self._busy[owner] < self._each
                ]
                if heads:
                    return self._taken(min(heads)[1])
                self._changed.wait()
        return None

    def end(self, owner: str, id: str) -> None:
        """Let the next of *owner* have the turn that *id* had."""
        with self._changed:
            self._known.discard(id)
            self._busy[owner] -= 1
            if not self._busy[owner]:
                del self._busy[owner]
            self._changed.notify()

    def close(self) -> None:
        """Give out no more turns."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _taken(self, owner: str) -> tuple[str, str]:
        line = self._lines[owner]
        *_, id = heappop(line)
        if not line:
            del self._lines[owner]
        self._busy[owner] += 1
        return owner, id
