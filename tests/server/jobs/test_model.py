"""The job's states."""

from __future__ import annotations

import pytest

from server.jobs.model import TRANSITIONS, Job, JobState, NewJob

REQUEST = NewJob(endpoint="e", input={}, seed=0)


@pytest.mark.parametrize("state", JobState)
def test_a_final_state_is_one_without_a_way_out(state):
    """`is_final` and the table of transitions are two statements of one rule."""
    assert (TRANSITIONS[state] == frozenset()) == state.is_final


def test_inference_time_is_the_last_attempts():
    """Clients show it as the time the GPU took, not the time in the queue."""
    job = Job(
        id="a",
        number=1,
        request=REQUEST,
        state=JobState.SUCCEEDED,
        created_at=0.0,
        started_at=10.0,
        finished_at=12.5,
    )

    assert 2.5 == job.inference_seconds


def test_a_job_that_never_ran_has_no_inference_time():
    """Cancelled in the queue: zero would be a lie."""
    job = Job(
        id="a",
        number=1,
        request=REQUEST,
        state=JobState.CANCELLED,
        created_at=0.0,
        finished_at=12.5,
    )

    assert job.inference_seconds is None
