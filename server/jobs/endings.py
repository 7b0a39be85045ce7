"""The outcomes that no engine comes to: cancelled, never started, crashed, no room on the disk.

They stand below `server.reporting`, which hands them on, because the store that decides most of
them may not look up at it.
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


def disk_full() -> Outcome:
    """Return the outcome of a job for whose files there was no room, however long it waited."""
    return _ended(JobState.FAILED, 503, "The server's disk is full", "runner_scheduling_failure")


def _ended(state: JobState, status: int, message: str, error_type: str) -> Outcome:
    return Outcome(
        state=state,
        status_code=status,
        body={"detail": message, "error_type": error_type},
        error=message,
        error_type=error_type,
    )
