"""What may happen to a job, as functions inside a transaction.

Each runs on the writer's thread, reads the rows it decides on in its own transaction, and returns
the jobs as they then are. `model.TRANSITIONS` is the table of what they may do.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

from server.jobs import endings
from server.jobs.model import Job, LogEntry, NewJob, Outcome, Prepared
from server.jobs.rows import (
    QUERIES,
    job_from_row,
    log_json,
    outcome_json,
    prepared_json,
    request_json,
)

PASSES = 8
"""How often a waiting job may be passed over by one that suits a slot better. Without a bound,
looking ahead starved a job for as long as suitable ones kept coming."""
WINDOW = 64
"""Waiting jobs that are looked at for one that suits the slot."""


class UnknownJob(Exception):
    """There is no such job."""


class Transitions:
    """The moves of the table, with the count of who was passed over.

    Args:
        max_attempts: Crashes after which a job fails.
        clock: Unix seconds.
        log_of: The lines of a live job, to be saved with its outcome.
    """

    def __init__(
        self,
        *,
        max_attempts: int,
        clock: Callable[[], float],
        log_of: Callable[[str], tuple[LogEntry, ...]],
    ) -> None:
        self._max_attempts = max_attempts
        self._clock = clock
        self._log_of = log_of
        # In memory: after a restart everybody may be passed over eight times again.
        self._passes: Counter[str] = Counter()

    def insert(self, sql: sqlite3.Connection, new: NewJob) -> Job:
        """Queue a new job, or return the one its owner made with the same key."""
        values = {
            "id": str(uuid.uuid4()),
            "request": request_json(new),
            "owner": new.owner,
            "idempotency_key": new.idempotency_key,
            "priority": new.priority,
            "affinity": new.affinity,
            "start_deadline": new.start_deadline,
            "prepared": None if new.to_prepare else prepared_json(Prepared()),
            "now": self._clock(),
        }
        job = _one(sql, "insert", values) or _one(sql, "find_by_key", values)
        if job is None:
            # No row came back and none is there: the statement and the table disagree.
            raise UnknownJob(values["id"])
        return job

    def claim(self, sql: sqlite3.Connection, slot: str, holds: frozenset[str]) -> Job | None:
        """Give the next job to *slot*; see `JobStore.claim` for the order."""
        line = sql.execute(QUERIES["next_in_line"], {"window": WINDOW}).fetchall()
        if not line:
            return None
        chosen = self._choose([(row["id"], row["affinity"] in holds) for row in line])
        self._passes.pop(chosen, None)
        return _one(sql, "claim", {"id": chosen, "slot": slot, "now": self._clock()})

    def prepare(self, sql: sqlite3.Connection, id: str, prepared: Prepared) -> Job | None:
        """Record what was found for a job that waits for it."""
        return _one(sql, "prepare", {"id": id, "prepared": prepared_json(prepared)})

    def refuse(self, sql: sqlite3.Connection, id: str, outcome: Outcome) -> Job | None:
        """End a job that cannot be prepared, if it still waits."""
        return self._end(sql, "end_queued", id, outcome)

    def cancel(self, sql: sqlite3.Connection, id: str) -> Job:
        """End a queued job, note the wish for a running one, leave an ended one alone."""
        job = (
            self._end(sql, "end_queued", id, endings.cancelled())
            or _one(sql, "request_cancel", {"id": id})
            or _one(sql, "get", {"id": id})
        )
        if job is None:
            raise UnknownJob(id)
        return job

    def expire(self, sql: sqlite3.Connection) -> list[Job]:
        """End the queued jobs that should have started by now."""
        overdue = sql.execute(QUERIES["overdue"], {"now": self._clock()}).fetchall()
        ended = [
            self._end(sql, "end_queued", row["id"], endings.never_started()) for row in overdue
        ]
        return [job for job in ended if job is not None]

    def finish(
        self, sql: sqlite3.Connection, id: str, attempt: int, outcome: Outcome
    ) -> Job | None:
        """Record how *attempt* ended, if it is still the job's; a wished cancel comes first."""
        job = _one(sql, "running_attempt", {"id": id, "attempt": attempt})
        if job is not None and job.cancel_requested:
            outcome = endings.cancelled()
        return self._end(sql, "finish", id, outcome, attempt=attempt)

    def release(
        self, sql: sqlite3.Connection, id: str, attempt: int, *, crashed: bool
    ) -> Job | None:
        """Put a running job back, or end it; see `JobStore.release`."""
        fence = {"id": id, "attempt": attempt}
        if crashed:
            sql.execute(QUERIES["blame"], fence)
        job = _one(sql, "running_attempt", fence)
        if job is None:
            return None
        if job.cancel_requested:
            return self._end(sql, "finish", id, endings.cancelled(), attempt=attempt)
        if crashed and (job.crashes >= self._max_attempts or not job.request.retry):
            return self._end(sql, "finish", id, endings.crashed(job.crashes), attempt=attempt)
        return _one(sql, "requeue", fence)

    def _choose(self, line: list[tuple[str, bool]]) -> str:
        """Return the id to serve of a *line* of (id, whether it suits the slot)."""
        for place, (id, suits) in enumerate(line):
            if suits or self._passes[id] >= PASSES:
                self._passes.update(passed for passed, _ in line[:place])
                return id
        return line[0][0]

    def _end(
        self, sql: sqlite3.Connection, query: str, id: str, outcome: Outcome, **fence: int
    ) -> Job | None:
        """Give a job its outcome and, in the same transaction, owe its webhook."""
        now = self._clock()
        values = {
            "id": id,
            "state": outcome.state,
            "outcome": outcome_json(outcome),
            "log": log_json(self._log_of(id)),
            "now": now,
        }
        job = _one(sql, query, values | fence)
        if job is not None:
            self._passes.pop(id, None)
            if job.request.webhook:
                owed = {"id": id, "url": job.request.webhook, "now": now}
                sql.execute(QUERIES["owe_webhook"], owed)
        return job


def _one(sql: sqlite3.Connection, query: str, values: dict[str, Any]) -> Job | None:
    row = sql.execute(QUERIES[query], values).fetchone()
    return job_from_row(row) if row is not None else None
