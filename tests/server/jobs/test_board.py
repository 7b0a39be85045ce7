"""The read model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server.jobs.board import Board
from server.jobs.model import Job, JobState, LogEntry, NewJob, Prepared, Preview, Priority
from server.reporting import cancelled


def a_job(number: int, **request: object) -> Job:
    new = NewJob(endpoint="e", input={}, seed=0, **request)
    return Job(id=f"job{number}", number=number, request=new, state=JobState.QUEUED, created_at=0.0)


def ended(job: Job) -> Job:
    return replace(job, state=JobState.CANCELLED, finished_at=1.0, outcome=cancelled())


def running(job: Job) -> Job:
    return replace(job, state=JobState.RUNNING, attempt=1)


def test_normal_jobs_stand_before_low_ones_that_came_earlier():
    """The position a client reads is the order in which the slots will claim."""
    board = Board()
    low, first, second = a_job(1, priority=Priority.LOW), a_job(2), a_job(3)
    for job in (low, first, second):
        board.put(job)

    assert [2, 0, 1] == [board.position(job) for job in (low, first, second)]


def test_the_line_moves_up_when_its_head_starts():
    """Positions count down as jobs leave the queue, wherever they stood."""
    board = Board()
    jobs = [a_job(number) for number in range(1, 5)]
    for job in jobs:
        board.put(job)
    board.put(running(jobs[0]))
    board.put(ended(jobs[2]))

    assert [0, 0, 0, 1] == [board.position(job) for job in jobs]
    assert 2 == board.waiting()


def test_a_job_that_comes_back_stands_where_it_stood():
    """A crash of the GPU process is not the client's fault."""
    board = Board()
    first, second = a_job(1), a_job(2)
    board.put(first)
    board.put(second)
    board.put(running(first))
    board.put(replace(first, attempt=1))

    assert [0, 1] == [board.position(first), board.position(second)]


def test_the_latest_preview_stays_with_its_attempt():
    """A cancel that is asked for does not hide it; nobody else's, and nothing older, is shown."""
    board = Board()
    job = running(a_job(1))
    board.put(a_job(1))
    assert not board.show("job1", 1, Preview(1, b"too early"))
    board.put(job)

    assert board.show("job1", 1, Preview(1, b"first"))
    assert board.show("job1", 1, Preview(2, b"second"))
    assert not board.show("job1", 2, Preview(3, b"of an attempt that is not"))
    assert not board.show("job2", 1, Preview(3, b"of a job that is not"))
    board.put(replace(job, cancel_requested=True))
    assert Preview(2, b"second") == board.get("job1").preview


@pytest.mark.parametrize(
    "after",
    [
        lambda job: ended(job),
        lambda job: replace(job, state=JobState.QUEUED),
        lambda job: replace(job, attempt=2),
    ],
)
def test_a_preview_is_gone_with_its_attempt(after):
    """Up to 64 KB each: the board keeps thousands of ended jobs."""
    board = Board()
    job = running(a_job(1))
    board.put(a_job(1))
    board.put(job)
    board.show("job1", 1, Preview(2, b"a picture"))
    board.put(after(job))

    assert None is board.get("job1").preview


def test_the_log_stays_with_a_live_job():
    """Rows carry no log until the job ends, so what was said must outlive a change of state."""
    board = Board()
    job = a_job(1)
    board.put(job)
    board.put(running(job))
    said = LogEntry(1.0, "INFO", "denoise 1/27")

    assert board.log(job.id, 1, said)
    assert not board.log(job.id, 2, said)
    assert not board.log("nobody", 1, said)

    board.put(replace(job, attempt=1))

    assert (said,) == board.get(job.id).log == board.log_of(job.id)


def test_only_the_latest_ended_jobs_stay():
    """Memory is bounded by the queue, not by the server's age; counts know of the others."""
    board = Board(keep_ended=2)
    jobs = [a_job(number, idempotency_key=f"key{number}") for number in range(1, 5)]
    for job in jobs:
        board.put(job)
        board.put(ended(job))

    assert [None, None, "job3", "job4"] == [
        found and found.id for found in (board.get(job.id) for job in jobs)
    ]
    assert 4 == board.counts()[JobState.CANCELLED]
    assert board.find("", "key1") is None
    assert "job4" == board.find("", "key4").id


def test_a_job_that_ended_long_ago_does_not_come_back():
    """It comes from the disk when its old idempotency key is used again, counted already."""
    board = Board(keep_ended=1)
    old, new = a_job(1), a_job(2)
    for job in (old, new):
        board.put(job)
        board.put(ended(job))
    board.put(ended(old))

    assert board.get(old.id) is None
    assert 2 == board.counts()[JobState.CANCELLED]


def test_forgetting_takes_a_job_from_the_counts_wherever_it_is():
    """Retention deletes jobs that are on the board and jobs that have left it."""
    board = Board(keep_ended=1)
    old, new = a_job(1), a_job(2)
    for job in (old, new):
        board.put(job)
        board.put(ended(job))
    board.forget(ended(old))
    board.forget(ended(new))

    assert 0 == board.counts()[JobState.CANCELLED]
    assert board.get(new.id) is None


def test_the_files_of_an_ended_job_leave_the_memory():
    """Data URIs are megabytes, and 2 000 ended jobs are remembered."""
    board = Board()
    job = a_job(1)
    files = {"prompt": "a fox", "image_url": "data:;base64," + "A" * 30_000}
    job = replace(job, request=replace(job.request, input=files))

    board.put(job)
    assert files == board.get(job.id).request.input
    board.put(ended(job))

    assert {"prompt": "a fox"} == board.get(job.id).request.input


def test_what_is_ready_and_what_is_not():
    """Slots ask for the one, those who prepare jobs for the other."""
    board = Board()
    low, raw = a_job(1, priority=Priority.LOW), a_job(2)
    for job in (low, raw):
        board.put(job)
    assert ([raw, low], False) == (board.unprepared(), board.ready())

    board.put(replace(low, prepared=Prepared()))
    assert ([raw], True) == (board.unprepared(), board.ready())
    board.put(ended(raw))

    assert ([], [low.id]) == (board.unprepared(), [job.id for job in board.live()])
