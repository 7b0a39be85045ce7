"""A job as a row of the database, and back; and the statements that move rows."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict
from importlib import resources

from server.jobs.model import Job, JobState, LogEntry, NewJob, Outcome, Prepared


def load_queries(text: str) -> dict[str, str]:
    """Return the statements of *text* by the names on their `-- name:` lines."""
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True))


QUERIES = load_queries(
    resources.files("server.jobs").joinpath("queries.sql").read_text(encoding="utf-8")
)


def job_from_row(row: sqlite3.Row) -> Job:
    """Return the job that *row* of the table `jobs` stands for."""
    outcome = json.loads(row["outcome"]) if row["outcome"] else None
    return Job(
        id=row["id"],
        number=row["number"],
        request=NewJob(**json.loads(row["request"])),
        state=JobState(row["state"]),
        prepared=_prepared(row["prepared"]),
        attempt=row["attempt"],
        crashes=row["crashes"],
        cancel_requested=bool(row["cancel_requested"]),
        slot=row["slot"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        outcome=Outcome(**outcome | {"state": JobState(outcome["state"])}) if outcome else None,
        log=tuple(LogEntry(*line) for line in json.loads(row["log"])),
    )


def request_json(request: NewJob) -> str:
    """Return *request* as the table stores it."""
    return json.dumps(asdict(request))


def prepared_json(prepared: Prepared) -> str:
    """Return *prepared* as the table stores it."""
    return json.dumps(asdict(prepared))


def outcome_json(outcome: Outcome) -> str:
    """Return *outcome* as the table stores it."""
    return json.dumps(asdict(outcome))


def log_json(log: Iterable[LogEntry]) -> str:
    """Return a job's log as the table stores it: one list of three for each line."""
    return json.dumps([[line.at, line.level, line.message] for line in log])


def _prepared(text: str | None) -> Prepared | None:
    if text is None:
        return None
    values = json.loads(text)
    return Prepared(**values | {"notes": tuple(LogEntry(**note) for note in values["notes"])})
