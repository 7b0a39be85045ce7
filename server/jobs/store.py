"""JobStore: the one place that reads and writes jobs.

SQLite decides every transition, one statement each, on the writer's thread; the board shows what
was committed. A job's log lives on the board and reaches the disk with the job's outcome.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from server.jobs.board import Board
from server.jobs.model import Job, JobState, LogEntry, NewJob, Outcome, Prepared, Preview
from server.jobs.rows import QUERIES, job_from_row
from server.jobs.sqlite import BadDatabase, Database, StoreUnavailable
from server.jobs.transitions import Transitions, UnknownJob

__all__ = ["BadDatabase", "DueWebhook", "JobStore", "QueueFull", "StoreUnavailable", "UnknownJob"]

FORGET_AT_ONCE = 500
"""Jobs deleted in one transaction: a month's worth at once would hold up submissions."""


class QueueFull(Exception):
    """As many jobs are waiting as may wait."""


@dataclass(frozen=True, slots=True)
class DueWebhook:
    """A webhook that should be called now."""

    job: Job
    url: str
    tries: int
    """Deliveries that have failed so far."""


class JobStore:
    """Jobs, durable. All methods may be called from any thread."""

    def __init__(
        self,
        path: Path,
        *,
        max_attempts: int = 3,
        max_queued: int = 100_000,
        clock: Callable[[], float] = time.time,
        busy_timeout: float = 5.0,
    ) -> None:
        """Open the store; jobs that ran when it was last closed are still running.

        Args:
            path: The database file, made if it is not there.
            max_attempts: Crashes after which a job fails.
            max_queued: Jobs that may wait.
            clock: Unix seconds.
            busy_timeout: Seconds to wait for another process that holds the file locked.

        Raises:
            BadDatabase: If the file is damaged or of a newer version.
        """
        self._max_queued = max_queued
        self._clock = clock
        self._database = Database(path, busy_timeout=busy_timeout)
        self._board = Board()
        self._transitions = Transitions(
            max_attempts=max_attempts, clock=clock, log_of=self._board.log_of
        )
        self._admitting = 0
        self._lock = threading.Lock()
        self._listeners: list[Callable[[str], None]] = []
        self._load()

    # ── for the clients ──────────────────────────────────────────────────────────────────────────

    def submit(self, new: NewJob) -> Job:
        """Accept a job and return once it is on the disk.

        The same owner and idempotency key return the job that was made first.

        Raises:
            QueueFull: If too many are waiting.
            StoreUnavailable: If it could not be written.
        """
        if new.idempotency_key is not None:
            known = self._board.find(new.owner, new.idempotency_key)
            if known is not None:
                return known
        self._admit()
        try:
            job = self._database.write(
                lambda sql: self._transitions.insert(sql, new), after=self._board.put
            )
        finally:
            with self._lock:
                self._admitting -= 1
        self._tell(job.id)
        return job

    def get(self, id: str) -> Job:
        """Return the job; from memory, unless it ended long ago.

        Raises:
            UnknownJob: If no such job was ever accepted, or it is forgotten.
        """
        job = self._board.get(id)
        if job is not None:
            return job
        rows = self._database.read(QUERIES["get"], id=id)
        if not rows:
            raise UnknownJob(id)
        return job_from_row(rows[0])

    def position(self, id: str) -> int:
        """Return how many jobs stand before this one; 0 once it does not wait any more."""
        return self._board.position(self.get(id))

    def cancel(self, id: str) -> Job:
        """Cancel a job: at once if it waits; if it runs, record the wish. An ended one stays.

        Raises:
            UnknownJob: If there is no such job.
            StoreUnavailable: If it could not be written.
        """
        job = self.get(id)
        if job.state.is_final or job.cancel_requested:
            return job
        job = self._database.write(
            lambda sql: self._transitions.cancel(sql, id), after=self._board.put, vital=True
        )
        self._tell(id)
        return job

    def listen(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call *callback* with a job's id after each change or log line; return the way out.

        It is called on whichever thread made the change, and must be quick.
        """
        with self._lock:
            self._listeners = [*self._listeners, callback]

        def leave() -> None:
            with self._lock:
                self._listeners = [known for known in self._listeners if known is not callback]

        return leave

    def counts(self) -> dict[JobState, int]:
        """Return how many jobs there are in each state."""
        return self._board.counts()

    # ── for those who prepare jobs ───────────────────────────────────────────────────────────────

    def unprepared(self) -> list[Job]:
        """Return the jobs that no slot may have yet, in the order of the queue."""
        return self._board.unprepared()

    def prepare(self, id: str, prepared: Prepared) -> bool:
        """Record what was found for job *id*, so that a slot may have it.

        Return whether it was taken: it is not if the job waits no more, or was prepared before.

        Raises:
            StoreUnavailable: If it could not be written.
        """
        job = self._database.write(
            lambda sql: self._transitions.prepare(sql, id, prepared), after=self._show
        )
        if job is not None:
            self._tell(id)
        return job is not None

    def refuse(self, id: str, outcome: Outcome) -> bool:
        """End job *id*, which cannot be prepared; return whether it still waited.

        Raises:
            StoreUnavailable: If it could not be written.
        """
        job = self._database.write(
            lambda sql: self._transitions.refuse(sql, id, outcome), after=self._show, vital=True
        )
        if job is not None:
            self._tell(id)
        return job is not None

    # ── for the slots ────────────────────────────────────────────────────────────────────────────

    def claim(self, slot: str, holds: frozenset[str]) -> Job | None:
        """Give the next job to *slot*; None if none waits.

        Only jobs that are prepared; normal priority before low, first come first served within;
        but a job whose affinity is in
        *holds* is preferred, as long as nobody is passed over more than eight times.

        Raises:
            StoreUnavailable: If it could not be written.
        """
        if not self._board.ready():
            return None
        self.expire()
        job = self._database.write(
            lambda sql: self._transitions.claim(sql, slot, holds), after=self._show
        )
        if job is not None:
            self._tell(job.id)
        return job

    def expire(self) -> list[Job]:
        """End the queued jobs whose start deadline has passed, and return them.

        Raises:
            StoreUnavailable: If it could not be written.
        """
        if not self._database.read(QUERIES["overdue"], now=self._clock()):
            return []
        jobs = self._database.write(self._transitions.expire, after=self._show_all, vital=True)
        for job in jobs:
            self._tell(job.id)
        return jobs

    def finish(self, id: str, attempt: int, outcome: Outcome) -> bool:
        """Record how *attempt* ended; return whether *outcome* was taken.

        It is not if the attempt is no longer the job's, nor if the client has cancelled the job:
        an acknowledged cancel is never followed by a result, and the job becomes CANCELLED.

        Raises:
            StoreUnavailable: If it could not be written.
        """
        job = self._database.write(
            lambda sql: self._transitions.finish(sql, id, attempt, outcome),
            after=self._show,
            vital=True,
        )
        if job is None:
            return False
        self._tell(id)
        return job.state is outcome.state

    def release(self, id: str, attempt: int, *, crashed: bool) -> Job | None:
        """Put a running job back into the queue, and return it as it now is.

        After a crash it fails instead if it has crashed too often or does not want to be tried
        again; if its client wanted it cancelled, it is. None if the attempt is not the job's.

        Raises:
            StoreUnavailable: If it could not be written.
        """
        job = self._database.write(
            lambda sql: self._transitions.release(sql, id, attempt, crashed=crashed),
            after=self._show,
            vital=True,
        )
        if job is not None:
            self._tell(id)
        return job

    def live(self) -> list[Job]:
        """Return the jobs that wait or run."""
        return self._board.live()

    def running(self) -> list[Job]:
        """Return the jobs that slots have, or had when the last server ended."""
        return self._board.running()

    def log(self, id: str, attempt: int, entry: LogEntry) -> None:
        """Append a line to a running job's log; a stale attempt's is dropped."""
        if self._board.log(id, attempt, entry):
            self._tell(id)

    def show(self, id: str, attempt: int, preview: Preview) -> None:
        """Show the latest picture of a running job; a stale attempt's is dropped."""
        if self._board.show(id, attempt, preview):
            self._tell(id)

    # ── for the outbox and the janitor ───────────────────────────────────────────────────────────

    def due_webhooks(self, now: float, limit: int) -> list[DueWebhook]:
        """Return up to *limit* webhooks to be called by *now*, the longest due first.

        Raises:
            StoreUnavailable: If the database cannot be read.
        """
        rows = self._database.read(QUERIES["due_webhooks"], now=now, limit=limit)
        return [
            DueWebhook(job_from_row(row), row["webhook_url"], row["webhook_tries"]) for row in rows
        ]

    def webhook_delivered(self, id: str) -> None:
        """Record that the webhook of job *id* needs no further call.

        Raises:
            StoreUnavailable: If it could not be written.
        """
        now = self._clock()
        self._execute("webhook_delivered", id=id, now=now)

    def webhook_failed(self, id: str, next_at: float) -> None:
        """Record that the webhook of job *id* should be called again at *next_at*.

        Raises:
            StoreUnavailable: If it could not be written.
        """
        self._execute("webhook_failed", id=id, next_at=next_at)

    def forget(self, *, before: float) -> list[Job]:
        """Drop the jobs that ended before the Unix second *before*, and return them.

        Raises:
            StoreUnavailable: If it could not be written.
        """
        values = {"before": before, "limit": FORGET_AT_ONCE}
        forgotten: list[Job] = []
        while True:
            jobs = self._database.write(
                lambda sql: [job_from_row(row) for row in sql.execute(QUERIES["forget"], values)],
                after=self._take_down,
            )
            forgotten += jobs
            if len(jobs) < FORGET_AT_ONCE:
                return forgotten

    def close(self) -> None:
        """Close the database; running jobs stay running for the next store to find."""
        self._database.close()

    # ── after a commit ───────────────────────────────────────────────────────────────────────────

    def _show(self, job: Job | None) -> None:
        if job is not None:
            self._board.put(job)

    def _show_all(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._board.put(job)

    def _take_down(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._board.forget(job)

    def _tell(self, id: str) -> None:
        for callback in self._listeners:
            callback(id)

    # ── the rest ─────────────────────────────────────────────────────────────────────────────────

    def _admit(self) -> None:
        with self._lock:
            # Counted before it is committed: many at once could slip past the limit otherwise.
            if self._board.waiting() + self._admitting >= self._max_queued:
                msg = f"{self._max_queued} jobs are waiting already"
                raise QueueFull(msg)
            self._admitting += 1

    def _execute(self, query: str, **values: str | float) -> None:
        self._database.write(lambda sql: sql.execute(QUERIES[query], values).rowcount)

    def _load(self) -> None:
        jobs = [job_from_row(row) for row in self._database.read(QUERIES["live"])]
        recent = self._database.read(QUERIES["recent"], limit=self._board.keep_ended)
        jobs += [job_from_row(row) for row in reversed(recent)]
        for job in jobs:
            self._board.restore(job)
        shown = self._board.counts()
        for row in self._database.read(QUERIES["counts"]):
            state = JobState(row["state"])
            self._board.count_also(state, row["count"] - shown[state])
