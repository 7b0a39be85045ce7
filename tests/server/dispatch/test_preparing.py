"""What happens to a job between its submission and a slot."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from server.dispatch.preparing import AT_ONCE, EACH, BadInput, Preparing
from server.jobs.model import JobState, LogEntry, NewJob, Prepared
from server.jobs.store import JobStore
from server.media.fetch import NotWanted
from tests.server.dispatch.conftest import wait_until
from wan_local.errors import BadMedia, InvalidPlan


@pytest.fixture
def jobs(tmp_path):
    jobs = JobStore(tmp_path / "jobs.db")
    yield jobs
    jobs.close()


@pytest.fixture
def preparing(jobs):
    """Start preparing with the given steps; what is going on is stopped in the end."""
    started = []

    def start(*steps, stopping=None):
        started.append(Preparing(jobs, steps, stopping=stopping))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.stop()


def submit(jobs, **changes):
    new = NewJob(endpoint="e", input={}, seed=1, to_prepare=True)
    return jobs.submit(replace(new, **changes)).id


def ended(jobs, id):
    wait_until(lambda: jobs.get(id).state.is_final)
    return jobs.get(id)


def naming(name):
    """Return a step that leaves *name* behind the names of the steps before."""
    return lambda _job, prepared: replace(prepared, sources={**prepared.sources, name: 1})


def test_the_steps_are_taken_in_order_and_the_job_is_ready(jobs, preparing):
    """The last step sees what all before it have found; a slot gets it with the job."""
    note = LogEntry(1.0, "INFO", "the prompt was rewritten")
    preparing(
        naming("first"),
        lambda _job, prepared: replace(prepared, prompt=str(prepared.sources), notes=(note,)),
    )
    id = submit(jobs)

    wait_until(lambda: jobs.get(id).prepared)
    job = jobs.claim("gpu0", frozenset())

    assert Prepared(sources={"first": 1}, prompt="{'first': 1}", notes=(note,)) == job.prepared


def test_a_bad_input_ends_the_job_at_its_field(jobs, preparing):
    """On no GPU, and in the words and at the place that a client can show to its user."""

    def refuse(job, prepared):
        error = BadMedia("It is too long", type="video_duration_too_long", ctx={"max_duration": 60})
        raise BadInput(error, ("body", "video_url"))

    preparing(refuse)
    job = ended(jobs, submit(jobs))

    [detail] = job.outcome.body["detail"]
    assert (JobState.FAILED, 422) == (job.state, job.outcome.status_code)
    assert ["body", "video_url"] == detail["loc"]
    assert ("video_duration_too_long", {"max_duration": 60}) == (detail["type"], detail["ctx"])
    assert ("It is too long", "It is too long") == (detail["msg"], job.outcome.error)
    assert 0 == job.attempt


def test_an_error_of_the_engine_keeps_its_type(jobs, preparing):
    """The plan that can be made with what was found may be none."""

    def refuse(job, prepared):
        raise BadInput(InvalidPlan("the video has one frame"), ("body",))

    preparing(refuse)

    assert "value_error" == ended(jobs, submit(jobs)).outcome.error_type


def test_a_surprise_costs_one_job_and_not_the_service(jobs, preparing, caplog):
    """Eight bad days in a row would otherwise end all preparing until the next start."""

    def stumble(job, prepared):
        if job.request.seed == 13:
            raise ZeroDivisionError
        return prepared

    caplog.set_level(logging.CRITICAL)
    preparing(stumble)
    unlucky = [submit(jobs, seed=13) for _ in range(2 * AT_ONCE)]
    lucky = submit(jobs)

    assert {500} == {ended(jobs, id).outcome.status_code for id in unlucky}
    wait_until(lambda: jobs.get(lucky).prepared)


def full_disk(times):
    """Return a step that finds no room *times* times, and how often it was taken."""
    taken = []

    def write(_job, prepared):
        taken.append(1)
        if len(taken) <= times:
            Path("/dev/full").write_bytes(b"a file")
        return prepared

    return write, taken


def test_a_full_disk_is_waited_out(jobs, preparing, monkeypatch):
    """An accepted job ends with its video; what was found before is not looked for again."""
    monkeypatch.setattr("server.dispatch.preparing.DISK_PAUSES", (0.0, 0.0, 0.0))
    looked = []
    step, taken = full_disk(3)
    preparing(lambda job, prepared: looked.append(job.id) or naming("first")(job, prepared), step)
    id = submit(jobs)

    wait_until(lambda: jobs.get(id).prepared)
    assert {"first": 1} == jobs.get(id).prepared.sources
    assert ([id], 4) == (looked, len(taken))


def test_a_disk_that_stays_full_ends_the_job_with_a_sentence(jobs, preparing, monkeypatch, caplog):
    """A file that is too large for it would fill it for ever."""
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setattr("server.dispatch.preparing.DISK_PAUSES", (0.0,))
    step, taken = full_disk(100)
    preparing(step)
    outcome = ended(jobs, submit(jobs)).outcome

    assert (503, "The server's disk is full") == (outcome.status_code, outcome.error)
    assert 2 == len(taken)


def test_a_job_that_is_cancelled_while_the_disk_is_full_is_let_go(jobs, preparing, monkeypatch):
    """And what was to be fetched for it is fetched no more."""
    monkeypatch.setattr("server.dispatch.preparing.DISK_PAUSES", (0.0, 0.0))
    write, taken = full_disk(100)
    again = threading.Event()

    def cancelled_meanwhile(job, prepared):
        if taken:
            again.set()
        jobs.cancel(job.id)
        return write(job, prepared)

    preparing(cancelled_meanwhile)
    id = submit(jobs)

    assert JobState.CANCELLED is ended(jobs, id).state
    assert not again.wait(0.5)


def test_one_slow_job_holds_up_no_other(jobs, preparing):
    """A download of a gigabyte, and a picture of a hundred kilobytes behind it."""
    release = threading.Event()

    def wait_for(job, prepared):
        if job.request.seed == 1:
            release.wait(30)
        return prepared

    preparing(wait_for)
    slow = [submit(jobs, seed=1) for _ in range(EACH - 1)]
    quick = submit(jobs, seed=2)
    wait_until(lambda: jobs.get(quick).prepared)

    assert quick == jobs.claim("gpu0", frozenset()).id
    assert jobs.claim("gpu0", frozenset()) is None
    release.set()
    wait_until(lambda: all(jobs.get(id).prepared for id in slow))


def test_one_owners_slow_jobs_hold_up_nobody_elses(jobs, preparing):
    """Sixty downloads of ten minutes each were two and a half hours for all the others."""
    release = threading.Event()

    def wait_for(job, prepared):
        if job.request.owner == "ada":
            release.wait(30)
        return prepared

    preparing(wait_for)
    slow = [submit(jobs, owner="ada") for _ in range(2 * AT_ONCE)]
    quick = submit(jobs, owner="grace")
    wait_until(lambda: jobs.get(quick).prepared)

    assert not any(jobs.get(id).prepared for id in slow)
    release.set()
    wait_until(lambda: all(jobs.get(id).prepared for id in slow))


def test_a_job_that_was_cancelled_meanwhile_stays_cancelled(jobs, preparing):
    """Whatever is found for it, or not found, comes too late."""
    began, release = threading.Event(), threading.Event()

    def wait_for(job, prepared):
        began.set()
        release.wait(30)
        if job.request.seed == 1:
            raise NotWanted
        return prepared

    preparing(wait_for)
    ids = [submit(jobs, seed=1), submit(jobs, seed=2)]
    began.wait(30)
    for id in ids:
        jobs.cancel(id)
    release.set()
    last = submit(jobs, seed=3)
    wait_until(lambda: jobs.get(last).prepared)

    assert {JobState.CANCELLED} == {jobs.get(id).state for id in ids}


def test_what_was_left_by_a_stop_is_prepared_by_the_next_start(jobs, preparing):
    """And what was prepared before the stop is not done again."""
    done, stopping = [], threading.Event()

    def wait_for(job, prepared):
        if job.request.seed == 1:
            done.append(job.id)
            return prepared
        stopping.wait(30)
        raise NotWanted

    first = preparing(wait_for, stopping=stopping)
    ready, left = submit(jobs, seed=1), submit(jobs, seed=2)
    wait_until(lambda: jobs.get(ready).prepared)
    first.stop()
    assert jobs.get(left).prepared is None
    preparing(lambda job, prepared: done.append(job.id) or prepared)
    wait_until(lambda: jobs.get(left).prepared)

    assert [ready, left] == done


def test_a_job_that_brings_nothing_is_left_alone(jobs, preparing):
    """It was ready when it was submitted."""
    seen = []
    preparing(lambda job, prepared: seen.append(job.id) or prepared)
    jobs.submit(NewJob(endpoint="e", input={}, seed=1))
    id = submit(jobs)
    wait_until(lambda: jobs.get(id).prepared)

    assert [id] == seen


def test_normal_jobs_are_prepared_before_low_ones(jobs, preparing):
    """As they are run."""
    release, seen = threading.Event(), []

    def note(job, prepared):
        if job.request.seed == 1:
            release.wait(30)
        else:
            seen.append(job.request.priority)
        return prepared

    preparing(note)
    for _ in range(EACH):
        submit(jobs, seed=1)
    ids = [submit(jobs, seed=2, priority=priority) for priority in (1, 1, 0)]
    release.set()
    wait_until(lambda: all(jobs.get(id).prepared for id in ids))

    assert 0 == seen[0]
