"""The order in which jobs are prepared."""

from __future__ import annotations

import threading

from server.dispatch.turns import Turns
from server.jobs.model import Job, JobState, NewJob


def a_job(number, owner="ada", priority=0):
    request = NewJob(endpoint="e", input={}, seed=1, owner=owner, priority=priority)
    state = JobState.QUEUED
    return Job(id=f"j{number}", number=number, request=request, state=state, created_at=0.0)


def test_the_order_is_the_queues():
    """Normal before low, first come first served within."""
    turns = Turns(each=9)
    for number, priority in [(1, 1), (3, 0), (2, 0)]:
        turns.join(a_job(number, priority=priority))

    assert ["j2", "j3", "j1"] == [turns.take()[1] for _ in range(3)]


def test_a_job_is_lined_up_once():
    """It is announced at each of its changes."""
    turns = Turns(each=9)
    turns.join(a_job(1))
    turns.join(a_job(1))
    turns.join(a_job(2))

    assert ["j1", "j2"] == [turns.take()[1] for _ in range(2)]


def test_one_owner_does_not_take_every_turn():
    """A hundred slow downloads of one, and a picture of another behind them."""
    turns = Turns(each=2)
    for number in range(100):
        turns.join(a_job(number, "ada"))
    turns.join(a_job(100, "grace"))

    assert ["j0", "j1", "j100"] == [turns.take()[1] for _ in range(3)]
    turns.end("ada", "j1")
    assert ("ada", "j2") == turns.take()


def test_whoever_waits_is_told():
    """Of a job, of a turn that has ended, and of the end of all."""
    turns, taken = Turns(each=1), []

    def take_all():
        while (turn := turns.take()) is not None:
            taken.append(turn)
            turns.end(*turn)

    threads = [threading.Thread(target=take_all) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(20):
        turns.join(a_job(number))
    turns.join(a_job(20, "grace"))
    while len(taken) < 21:
        threads[0].join(0.01)
    turns.close()
    for thread in threads:
        thread.join(10)

    assert not any(thread.is_alive() for thread in threads)
    assert {f"j{number}" for number in range(21)} == {id for _, id in taken}
