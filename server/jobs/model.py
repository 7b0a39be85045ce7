"""The job and the states it may pass through."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

LogLevel = Literal["STDERR", "STDOUT", "ERROR", "INFO", "WARN", "DEBUG"]


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    """Waiting for a slot, or put back after its GPU process died."""
    RUNNING = "running"
    """Given to one slot; `attempt` says which time."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self not in {JobState.QUEUED, JobState.RUNNING}


TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.FAILED}),
    JobState.RUNNING: frozenset(
        {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.QUEUED}
    ),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}
"""The legal moves. A queued job fails when its start deadline passes."""


class Priority:
    """Order of the queue; a smaller number is served first."""

    NORMAL = 0
    LOW = 1


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of a job's log, as the client reads it."""

    at: float
    """Unix seconds."""
    level: LogLevel
    message: str


@dataclass(frozen=True, slots=True)
class Preview:
    """A rough picture of a running job's video."""

    step: int
    """The denoising step after which it was drawn."""
    jpeg: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A validated request that wants to become a job."""

    endpoint: str
    input: dict[str, Any]
    """The client's validated input, defaults filled in, on the wire's own terms."""
    seed: int
    """Chosen at submission, so that a retry makes the same video."""
    owner: str = ""
    """Id of the API key that submitted it; empty where none was needed."""
    priority: int = Priority.NORMAL
    affinity: str = ""
    """What a slot should already hold to run it cheaply: the model's id."""
    retry: bool = True
    """False after `X-Fal-No-Retry`: the first dead GPU process fails the job."""
    start_deadline: float | None = None
    """Unix seconds by which it must have started, from `X-Fal-Request-Timeout`."""
    output_ttl: float | None = None
    """Seconds the output file is kept, from `X-Fal-Object-Lifecycle-Preference`."""
    to_prepare: bool = False
    """Whether something has to be done before a slot may have it: files to fetch, say."""
    preview_every: int = 0
    """Steps from one preview to the next, from `X-Wan-Preview` or the setting; 0 for none."""
    idempotency_key: str | None = None
    webhook: str | None = None
    """URL to call when the job has ended."""
    base_url: str = ""
    """Base of the URLs a webhook's payload carries: what the submitter connected to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What was found for a job before a slot may have it."""

    sources: dict[str, Any] = field(default_factory=dict)
    """The files it brings, on `server.media`'s terms."""
    prompt: str | None = None
    """What to use in the place of the client's prompt, if anything."""
    notes: tuple[LogEntry, ...] = ()
    """What the client should know of it: the first lines of the job's log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a job ended, in the words the client gets."""

    state: JobState
    status_code: int
    """HTTP status of the result."""
    body: dict[str, Any]
    """Body of the result: the output, or the error in fal's shape. URLs of stored files are paths
    (`/cdn/...`) and are made absolute when read."""
    error: str | None = None
    """One sentence, shown in the status of a job that did not succeed."""
    error_type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One accepted request on its way to a result; `id` is fal's `request_id`."""

    id: str
    number: int
    """Order of submission."""
    request: NewJob
    state: JobState
    prepared: Prepared | None = None
    """None while a slot may not have it yet."""
    attempt: int = 0
    """How often it was given to a slot; the fence every result has to pass."""
    crashes: int = 0
    """Attempts that ended with a dead GPU process; restarts of the server do not count."""
    cancel_requested: bool = False
    slot: str | None = None
    created_at: float
    """Unix seconds, as are the two below."""
    started_at: float | None = None
    finished_at: float | None = None
    outcome: Outcome | None = None
    log: tuple[LogEntry, ...] = field(default=())
    preview: Preview | None = None
    """The latest of the attempt that is running. In memory only, and gone with the attempt."""

    @property
    def inference_seconds(self) -> float | None:
        """Seconds of the last attempt, once it has ended."""
        if self.started_at is None or self.finished_at is None:
            return None
        return max(0.0, self.finished_at - self.started_at)
