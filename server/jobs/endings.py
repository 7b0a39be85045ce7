"""The outcomes that the queue itself decides: cancelled, never started, crashed.

They stand below `server.reporting`, which hands them on, because the store that decides them may
not look up at it.
"""

from __future__ import annotations

from server.jobs.model import JobState, Outcome


def cancelled() -> Outcome:
    """Return the outcome of a job its client cancelled."""
    return _ended(
        JobState.CANCELLED, 499, "The request was cancelled by the client", "client_cancelled"
    )


def never_started() -> Outcome:
    """Return the outcome of a job whose start deadline passed while it waited."""
    return _ended(
        JobState.FAILED, 504, "The request did not start before its deadline", "request_timeout"
    )


def crashed(attempts: int) -> Outcome:
    """Return the outcome of a job whose GPU process died under it *attempts* times."""
    times = "once" if attempts == 1 else f"{attempts} times"
    return _ended(
        JobState.FAILED, 503, f"The GPU process died {times} on this request", "runner_disconnected"
    )


def _ended(state: JobState, status: int, message: str, error_type: str) -> Outcome:
    return Outcome(
        state=state,
        status_code=status,
        body={"detail": message, "error_type": error_type},
        error=message,
        error_type=error_type,
    )
