"""The outcomes the queue decides itself."""

from __future__ import annotations

import pytest

from server import reporting
from server.jobs import endings
from server.jobs.model import JobState


@pytest.mark.parametrize(
    ("outcome", "state", "status"),
    [
        (endings.cancelled(), JobState.CANCELLED, 499),
        (endings.never_started(), JobState.FAILED, 504),
        (endings.crashed(3), JobState.FAILED, 503),
    ],
    ids=["cancelled", "never started", "crashed"],
)
def test_an_ending_is_a_request_error_in_fals_shape(outcome, state, status):
    """Clients raise their own exception classes by these; the shape is that of `request_error`."""
    assert (state, status) == (outcome.state, outcome.status_code)
    assert reporting.request_error(outcome.error, outcome.error_type) == outcome.body


def test_one_crash_is_told_in_good_english():
    """The sentence reaches people."""
    assert "The GPU process died once on this request" == endings.crashed(1).error
    assert "The GPU process died 3 times on this request" == endings.crashed(3).error
