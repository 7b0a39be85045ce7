"""The read model: every live job and the recently ended ones, in memory.

Clients poll ten times a second; their answers come from here and never from the disk. What a
statement of SQLite has committed is put on the board, so the board is never ahead of the disk.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections import OrderedDict
from dataclasses import replace

from server.jobs.model import Job, JobState, LogEntry, Preview

KEEP_ENDED = 2_000
"""Ended jobs kept in memory, about 15 KB each with the log of a 40-step video."""

LONGEST_KEPT = 20_000
"""Characters of one input field that an ended job keeps in memory: the longest prompt fits, data
URIs do not, and 2 000 of a megabyte each would fill a small machine. The database has them all."""


class Board:
    """Jobs by id and the order of the queue. All methods may be called from any thread."""

    def __init__(self, *, keep_ended: int = KEEP_ENDED) -> None:
        self.keep_ended = keep_ended
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._queue: list[tuple[int, int]] = []
        self._unprepared: set[str] = set()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._counts = dict.fromkeys(JobState, 0)

    def put(self, job: Job) -> None:
        """Show *job* as it now is; one that ended so long ago that it is not here stays away."""
        with self._lock:
            before = self._jobs.get(job.id)
            if before is None and job.state.is_final:
                return
            if before is not None:
                self._take_down(before)
                job = _with_memories(job, before)
            self._hang_up(job)

    def restore(self, job: Job) -> None:
        """Show *job*, live or ended, when the board is set up."""
        with self._lock:
            self._hang_up(job)

    def forget(self, job: Job) -> None:
        """Take an ended *job* off the board and out of the counts."""
        with self._lock:
            self._counts[job.state] -= 1
            if job.id in self._ended:
                del self._ended[job.id]
                self._remove(job)

    def get(self, id: str) -> Job | None:
        """Return the job, or None if it is not on the board."""
        return self._jobs.get(id)

    def find(self, owner: str, idempotency_key: str) -> Job | None:
        """Return the job that *owner* submitted with this key, if it is on the board."""
        with self._lock:
            id = self._keys.get((owner, idempotency_key))
            return self._jobs[id] if id is not None else None

    def position(self, job: Job) -> int:
        """Return how many jobs stand before *job*; 0 if it does not wait."""
        with self._lock:
            if self._jobs.get(job.id, job).state is not JobState.QUEUED:
                return 0
            return bisect_left(self._queue, _place(job))

    def running(self) -> list[Job]:
        """Return the jobs that have been given to a slot, in order of submission."""
        with self._lock:
            jobs = [job for job in self._jobs.values() if job.state is JobState.RUNNING]
        return sorted(jobs, key=lambda job: job.number)

    def waiting(self) -> int:
        """Return how many jobs are queued."""
        return len(self._queue)

    def ready(self) -> bool:
        """Return whether a queued job is prepared."""
        return len(self._queue) > len(self._unprepared)

    def unprepared(self) -> list[Job]:
        """Return the queued jobs that are not prepared, in the order of the queue."""
        with self._lock:
            return sorted((self._jobs[id] for id in self._unprepared), key=_place)

    def live(self) -> list[Job]:
        """Return the jobs that are queued or running."""
        with self._lock:
            return [job for job in self._jobs.values() if not job.state.is_final]

    def counts(self) -> dict[JobState, int]:
        """Return how many jobs there are in each state, on the board or not."""
        with self._lock:
            return dict(self._counts)

    def count_also(self, state: JobState, number: int) -> None:
        """Count *number* jobs that are in the database and not on the board."""
        with self._lock:
            self._counts[state] += number

    def log_of(self, id: str) -> tuple[LogEntry, ...]:
        """Return the lines that a job has said so far; none if it is not on the board."""
        job = self._jobs.get(id)
        return job.log if job is not None else ()

    def log(self, id: str, attempt: int, entry: LogEntry) -> bool:
        """Append a line to the log of a running job; return whether it is still that attempt."""
        with self._lock:
            job = self._running(id, attempt)
            if job is not None:
                self._jobs[id] = replace(job, log=(*job.log, entry))
            return job is not None

    def show(self, id: str, attempt: int, preview: Preview) -> bool:
        """Show the latest picture of a running job; return whether it is still that attempt."""
        with self._lock:
            job = self._running(id, attempt)
            if job is not None:
                self._jobs[id] = replace(job, preview=preview)
            return job is not None

    def _running(self, id: str, attempt: int) -> Job | None:
        job = self._jobs.get(id)
        if job is None or job.state is not JobState.RUNNING or job.attempt != attempt:
            return None
        return job

    def _hang_up(self, job: Job) -> None:
        if job.state.is_final:
            job = _without_files(job)
        self._jobs[job.id] = job
        self._counts[job.state] += 1
        if job.request.idempotency_key is not None:
            self._keys[job.request.owner, job.request.idempotency_key] = job.id
        if job.state is JobState.QUEUED:
            insort(self._queue, _place(job))
            if job.prepared is None:
                self._unprepared.add(job.id)
        if job.state.is_final:
            self._ended[job.id] = None
        while len(self._ended) > self.keep_ended:
            oldest, _ = self._ended.popitem(last=False)
            self._remove(self._jobs[oldest])

    def _take_down(self, job: Job) -> None:
        self._counts[job.state] -= 1
        self._ended.pop(job.id, None)
        if job.state is JobState.QUEUED:
            del self._queue[bisect_left(self._queue, _place(job))]
            self._unprepared.discard(job.id)

    def _remove(self, job: Job) -> None:
        del self._jobs[job.id]
        if job.request.idempotency_key is not None:
            self._keys.pop((job.request.owner, job.request.idempotency_key), None)


def _with_memories(job: Job, before: Job) -> Job:
    """Return *job* with what is known of it here and nowhere else, while it is true."""
    if job.state.is_final:
        return job
    same = job.state is JobState.RUNNING and job.attempt == before.attempt
    return replace(job, log=before.log, preview=before.preview if same else None)


def _without_files(job: Job) -> Job:
    """Return *job* without the fields of its input that hold whole files."""
    input = job.request.input
    short = {name: value for name, value in input.items() if len(str(value)) <= LONGEST_KEPT}
    if len(short) == len(input):
        return job
    return replace(job, request=replace(job.request, input=short))


def _place(job: Job) -> tuple[int, int]:
    return job.request.priority, job.number
