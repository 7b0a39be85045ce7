"""Jobs to rows and back."""

from __future__ import annotations

import sqlite3

from server.jobs.model import Job, JobState, LogEntry, NewJob, Prepared
from server.jobs.rows import (
    QUERIES,
    job_from_row,
    load_queries,
    log_json,
    outcome_json,
    prepared_json,
    request_json,
)
from server.jobs.sqlite import MIGRATIONS, migrate
from server.reporting import succeeded

REQUEST = NewJob(
    endpoint="fal-ai/wan/v2.2-a14b/text-to-video",
    input={"prompt": "a \ud800 lone surrogate, ünïcode and 'quotes'", "shift": 5.0},
    seed=2**63 - 1,
    owner="key",
    priority=1,
    affinity="model",
    retry=False,
    start_deadline=12.5,
    output_ttl=60.0,
    idempotency_key="once",
    webhook="http://studio/hook",
    base_url="http://host:8900",
)


def test_a_job_survives_the_trip_through_a_row():
    """Every field comes back as it went in, or a restart changes what clients asked for."""
    outcome = succeeded({"video": {"url": "/cdn/files/t/v.mp4"}, "seed": 2**63 - 1})
    log = (LogEntry(1.5, "INFO", "denoise 1/27"), LogEntry(2.5, "WARN", "as\nis"))
    sql = sqlite3.connect(":memory:", isolation_level=None)
    sql.row_factory = sqlite3.Row
    migrate(sql, MIGRATIONS)
    columns = {
        "id": "a",
        "request": request_json(REQUEST),
        "owner": REQUEST.owner,
        "idempotency_key": REQUEST.idempotency_key,
        "priority": REQUEST.priority,
        "affinity": REQUEST.affinity,
        "start_deadline": REQUEST.start_deadline,
        "prepared": None,
        "now": 1.0,
    }
    sql.execute(QUERIES["insert"], columns).fetchall()
    prepared = Prepared(sources={"a": {"path": "/b"}}, prompt="a fox", notes=log)
    found = {"id": "a", "prepared": prepared_json(prepared)}
    sql.execute(QUERIES["prepare"], found).fetchall()
    sql.execute(QUERIES["claim"], {"id": "a", "slot": "gpu0", "now": 2.0}).fetchall()
    ended = {"state": "succeeded", "outcome": outcome_json(outcome), "log": log_json(log)}
    [row] = sql.execute(QUERIES["finish"], ended | {"id": "a", "attempt": 1, "now": 3.0}).fetchall()
    sql.close()

    assert Job(
        id="a",
        number=1,
        request=REQUEST,
        state=JobState.SUCCEEDED,
        prepared=prepared,
        attempt=1,
        slot="gpu0",
        created_at=1.0,
        started_at=2.0,
        finished_at=3.0,
        outcome=outcome,
        log=log,
    ) == job_from_row(row)


def test_statements_are_found_by_their_names():
    """A comment under the name belongs to the statement; text before the first name to none."""
    found = load_queries(
        "-- all of them\n\n-- name: one\n-- why\nSELECT 1\n\n-- name: two\nSELECT 2"
    )

    assert {"one": "-- why\nSELECT 1", "two": "SELECT 2"} == found
