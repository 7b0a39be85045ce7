"""The job store on a real SQLite file."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from server.jobs.model import JobState, LogEntry
from server.jobs.store import QueueFull, StoreUnavailable, UnknownJob
from server.reporting import cancelled, crashed, engine_failed, never_started, succeeded
from tests.server.jobs.requests import a_request

NOTHING = frozenset()
RESULT = succeeded({"video": {"url": "/cdn/files/t/v.mp4"}, "seed": 1})


def test_the_same_key_of_the_same_owner_is_the_same_job(store):
    """A client whose answer was lost sends the request again; it must not pay twice."""
    first = store.submit(a_request(idempotency_key="once", owner="ann"))
    again = store.submit(a_request(idempotency_key="once", owner="ann"))
    other = store.submit(a_request(idempotency_key="once", owner="bob"))
    unkeyed = {store.submit(a_request(owner="ann")).id for _ in range(2)}

    assert first == again
    assert 4 == len({first.id, other.id, *unkeyed})


def test_twenty_submissions_of_one_key_at_once_are_one_job(store):
    """The retry may overtake the first try."""
    with ThreadPoolExecutor(20) as pool:
        request = a_request(idempotency_key="once")
        ids = set(pool.map(lambda _: store.submit(request).id, range(20)))

    assert 1 == len(ids)
    assert 1 == store.counts()[JobState.QUEUED]


def test_a_key_outlives_the_memory_of_its_job(opened):
    """A client may come back for its result after the server has been restarted."""
    store = opened()
    job = store.submit(a_request(idempotency_key="once"))
    store.cancel(job.id)
    store.close()

    assert job.id == opened().submit(a_request(idempotency_key="once")).id


def test_only_so_many_may_wait(opened):
    """A full queue says so at once; it does not grow until the disk is full."""
    store = opened(max_queued=2)
    store.submit(a_request(idempotency_key="known"))
    store.submit(a_request())
    with pytest.raises(QueueFull, match="2 jobs are waiting"):
        store.submit(a_request())
    store.submit(a_request(idempotency_key="known"))
    store.claim("gpu0", NOTHING)

    assert store.submit(a_request())


def test_the_limit_holds_against_many_at_once(opened):
    """Between the count and the commit is room for many."""
    store = opened(max_queued=5)

    def submit(_):
        try:
            return store.submit(a_request()).id
        except QueueFull:
            return None

    with ThreadPoolExecutor(16) as pool:
        accepted = [id for id in pool.map(submit, range(50)) if id]

    assert 5 == len(accepted) == store.counts()[JobState.QUEUED]


def test_a_stale_attempt_cannot_finish(store):
    """A slot that was thought dead must not overwrite its successor's result."""
    job = store.submit(a_request())
    store.claim("gpu0", NOTHING)
    store.release(job.id, 1, crashed=True)
    store.claim("gpu1", NOTHING)

    assert not store.finish(job.id, 1, engine_failed("InternalError", "late"))
    assert store.release(job.id, 1, crashed=True) is None
    assert store.finish(job.id, 2, RESULT)
    assert not store.finish(job.id, 2, engine_failed("InternalError", "twice"))
    assert RESULT == store.get(job.id).outcome


def test_a_crash_puts_a_job_back_until_the_third(store):
    """A poison job must not take the GPUs out of service for ever."""
    job = store.submit(a_request())
    states = []
    for attempt in (1, 2, 3):
        store.claim("gpu0", NOTHING)
        states.append(store.release(job.id, attempt, crashed=True).state)

    assert [JobState.QUEUED, JobState.QUEUED, JobState.FAILED] == states
    assert crashed(3) == store.get(job.id).outcome


def test_a_restart_of_the_server_is_not_the_jobs_fault(store):
    """Otherwise three deployments in a row fail a long video."""
    job = store.submit(a_request())
    for attempt in range(1, 6):
        store.claim("gpu0", NOTHING)
        store.release(job.id, attempt, crashed=False)

    assert (JobState.QUEUED, 0, 5) == (
        store.get(job.id).state,
        store.get(job.id).crashes,
        store.get(job.id).attempt,
    )


def test_a_job_that_wants_no_retry_fails_at_its_first_crash(store):
    """`X-Fal-No-Retry: 1`."""
    job = store.submit(a_request(retry=False))
    store.claim("gpu0", NOTHING)

    assert crashed(1) == store.release(job.id, 1, crashed=True).outcome


def test_cancelling_a_waiting_job_ends_it(store):
    """At once and for good: no slot gets it any more."""
    job = store.submit(a_request())

    assert cancelled() == store.cancel(job.id).outcome
    assert store.claim("gpu0", NOTHING) is None


def test_cancelling_a_running_job_is_a_wish_that_sticks(opened):
    """It is on the disk before it is acknowledged, so not even a crash turns it into a result."""
    store = opened()
    job = store.submit(a_request())
    store.claim("gpu0", NOTHING)

    assert (JobState.RUNNING, True) == (
        store.cancel(job.id).state,
        store.cancel(job.id).cancel_requested,
    )

    store.close()
    store = opened()

    assert cancelled() == store.release(job.id, 1, crashed=False).outcome


def test_a_result_that_comes_after_a_cancel_is_not_taken(store):
    """An acknowledged cancel is never followed by a video."""
    job = store.submit(a_request())
    store.claim("gpu0", NOTHING)
    store.cancel(job.id)

    assert not store.finish(job.id, 1, RESULT)
    assert cancelled() == store.get(job.id).outcome


def test_cancelling_an_ended_job_changes_nothing(store):
    """`ALREADY_COMPLETED`."""
    job = store.submit(a_request())
    store.claim("gpu0", NOTHING)
    store.finish(job.id, 1, RESULT)

    assert RESULT == store.cancel(job.id).outcome


def test_a_job_that_did_not_start_in_time_ends(store, clock):
    """`X-Fal-Request-Timeout` is the time to start."""
    late = store.submit(a_request(start_deadline=1010.0)).id
    patient = store.submit(a_request(start_deadline=2000.0)).id
    clock.now = 1011.0

    assert patient == store.claim("gpu0", NOTHING).id
    assert never_started() == store.get(late).outcome
    assert [] == store.expire()


def test_a_deadline_is_not_asked_about_again_once_a_job_has_started(store, clock):
    """A retry after a crash would otherwise be answered "did not start"."""
    job = store.submit(a_request(start_deadline=1010.0))
    store.claim("gpu0", NOTHING)
    clock.now = 1011.0
    store.release(job.id, 1, crashed=True)

    assert [] == store.expire()
    assert job.id == store.claim("gpu0", NOTHING).id


def test_the_log_is_saved_with_the_outcome(opened):
    """Lines come by the dozen and an fsync for each would wear out the disk."""
    store = opened()
    job = store.submit(a_request())
    store.claim("gpu0", NOTHING)
    lines = tuple(LogEntry(float(i), "INFO", f"denoise {i}/4") for i in range(1, 5))
    for line in lines:
        store.log(job.id, 1, line)

    assert lines == store.get(job.id).log

    store.finish(job.id, 1, RESULT)
    store.log(job.id, 1, lines[0])
    store.close()

    assert lines == opened().get(job.id).log


def test_a_restart_finds_everything(opened):
    """Accepted means durable: states, order, positions, counts, results."""
    store = opened()
    ended, runs, first, second = (store.submit(a_request(seed=i)) for i in range(4))
    store.claim("gpu0", NOTHING)
    store.finish(ended.id, 1, RESULT)
    store.claim("gpu0", NOTHING)
    before = {job.id: store.get(job.id) for job in (ended, runs, first, second)}
    counts = store.counts()
    store.close()
    store = opened()

    assert before == {id: store.get(id) for id in before}
    assert counts == store.counts()
    assert [runs.id] == [job.id for job in store.running()]
    assert [0, 1] == [store.position(first.id), store.position(second.id)]
    assert first.id == store.claim("gpu0", NOTHING).id


def test_old_results_are_read_from_the_disk(store):
    """Memory holds the latest; a client may ask for last week's."""
    jobs = [store.submit(a_request()) for _ in range(3)]
    for job in jobs:
        store.cancel(job.id)
    store._board.keep_ended = 1
    store.cancel(store.submit(a_request()).id)

    assert store._board.get(jobs[0].id) is None
    assert cancelled() == store.get(jobs[0].id).outcome
    assert cancelled() == store.cancel(jobs[0].id).outcome
    assert 0 == store.position(jobs[0].id)


def test_an_unknown_job_is_an_error(store):
    """A typo must not read as "still in the queue"."""
    for ask in (store.get, store.position, store.cancel):
        with pytest.raises(UnknownJob):
            ask("nobody")


def test_listeners_hear_every_change_until_they_leave(store):
    """Streams and slots are woken by this instead of asking again and again."""
    heard = []
    leave = store.listen(heard.append)
    job = store.submit(a_request())
    store.claim("gpu0", NOTHING)
    store.log(job.id, 1, LogEntry(1.0, "INFO", "a"))
    store.log(job.id, 7, LogEntry(1.0, "INFO", "a stale attempt's"))
    store.cancel(job.id)
    store.release(job.id, 1, crashed=False)
    leave()
    store.submit(a_request())

    assert [job.id] * 5 == heard


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled", "crashed", "late"])
def test_every_ending_owes_the_webhook_once(store, clock, end):
    """Failures and cancels call it too, as at fal; the ending's transaction holds the debt."""
    request = a_request(
        webhook="http://studio/hook", retry=False, start_deadline=1010.0 if end == "late" else None
    )
    job = store.submit(request)
    store.submit(a_request())
    if end not in {"cancelled", "late"}:
        store.claim("gpu0", NOTHING)
    match end:
        case "succeeded":
            store.finish(job.id, 1, RESULT)
        case "failed":
            store.finish(job.id, 1, engine_failed("InvalidPlan", "no"))
        case "cancelled":
            store.cancel(job.id)
        case "crashed":
            store.release(job.id, 1, crashed=True)
        case "late":
            clock.now = 1011.0
            store.expire()
    [due] = store.due_webhooks(clock.now, 10)

    assert (store.get(job.id), "http://studio/hook", 0) == (due.job, due.url, due.tries)


def test_a_webhook_is_due_until_it_is_delivered(store, clock):
    """Deliveries are tried again later, and not before."""
    job = store.submit(a_request(webhook="http://studio/hook"))
    store.cancel(job.id)
    store.webhook_failed(job.id, clock.now + 5)

    assert [] == store.due_webhooks(clock.now, 10)

    clock.now += 6

    assert [1] == [due.tries for due in store.due_webhooks(clock.now, 10)]

    store.webhook_delivered(job.id)

    assert [] == store.due_webhooks(clock.now, 10)


def test_forgotten_jobs_are_gone_and_live_ones_stay(store, clock):
    """Retention is for what has ended."""
    old = store.submit(a_request(webhook="http://studio/hook"))
    store.cancel(old.id)
    waits = store.submit(a_request())
    clock.now = 2000.0
    new = store.submit(a_request())
    store.cancel(new.id)

    assert [old.id] == [job.id for job in store.forget(before=1500.0)]
    assert {waits.id, new.id} == {store.get(id).id for id in (waits.id, new.id)}
    assert [] == [due for due in store.due_webhooks(3000.0, 10) if due.job.id == old.id]
    with pytest.raises(UnknownJob):
        store.get(old.id)


def test_a_locked_database_refuses_submissions_and_answers_polls(store, tmp_path):
    """Status comes from memory: clients that wait see nothing of it."""
    job = store.submit(a_request())
    other = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable):
        store.submit(a_request())
    with pytest.raises(StoreUnavailable):
        store.claim("gpu0", NOTHING)

    assert (JobState.QUEUED, 0) == (store.get(job.id).state, store.position(job.id))

    other.execute("ROLLBACK")
    other.close()

    assert job.id == store.claim("gpu0", NOTHING).id
    assert 1 == store.counts()[JobState.RUNNING]
