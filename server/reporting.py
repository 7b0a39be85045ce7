"""Job -> fal's words: queue status, log entries, error bodies, the outcomes of what went wrong.

The only file that knows both the queue's words and the wire's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from server.jobs.endings import cancelled, crashed, disk_full, never_started
from server.jobs.model import Job, JobState, LogEntry, Outcome
from wan_local.errors import BadMedia, WanLocalError

__all__ = [
    "Urls",
    "cancelled",
    "crashed",
    "disk_full",
    "engine_failed",
    "input_refused",
    "log_body",
    "model_error",
    "never_started",
    "request_error",
    "result_body",
    "status_body",
    "status_code",
    "submit_body",
    "succeeded",
    "surprised",
]

ERROR_URL = "https://docs.fal.ai/errors/#"

# class name in wan_local.errors -> (HTTP status, fal's error type)
ENGINE_ERRORS: dict[str, tuple[int, str]] = {
    "InvalidPlan": (422, "value_error"),
    "UnknownModel": (422, "feature_not_supported"),
    "WeightsMissing": (422, "feature_not_supported"),
    "LoraRefused": (422, "value_error"),
    "BadCheckpoint": (500, "internal_server_error"),
    "OutOfMemory": (500, "internal_server_error"),
    "ContentRefused": (422, "content_policy_violation"),
    "EncodingFailed": (500, "internal_server_error"),
    "BadMedia": (422, "image_load_error"),
}

# part of a plan -> fields of a body that it may have come from; the first that was filled in is it
PARTS: dict[str, tuple[str, ...]] = {
    "prompt": ("prompt",),
    "first_frame": ("image_url",),
    "last_frame": ("end_image_url",),
    "start": ("video_url", "image_url"),
}


@dataclass(frozen=True, slots=True)
class Urls:
    """The bases of the URLs a client is given; neither ends in a slash."""

    queue: str
    """Base of the queue's routes as this client reaches them, e.g. `http://host:8900/queue`."""
    files: str
    """Base of stored files, e.g. `http://host:8900`."""


def submit_body(job: Job, position: int, urls: Urls) -> dict[str, Any]:
    """Return the answer to a submission."""
    return {
        **_identity(job, urls),
        "status": "IN_QUEUE",
        "queue_position": position,
        "gateway_request_id": job.id,
        "logs": [],
        "metrics": {},
    }


def status_body(
    job: Job, position: int, urls: Urls, *, logs: bool, since: int = 0
) -> dict[str, Any]:
    """Return *job*'s queue status.

    Failure and cancellation are COMPLETED too, with `error` set; the HTTP error comes with the
    result. `logs` is a list always: null makes fal's own JavaScript sample throw.

    Args:
        job: The job.
        position: Jobs ahead of it in the queue.
        urls: Where this client reaches us.
        logs: Whether log lines were asked for.
        since: Lines to leave out at the beginning, for a stream that has sent them.
    """
    body = _identity(job, urls)
    body["logs"] = [log_body(entry) for entry in job.log[since:]] if logs else []
    body["metrics"] = {}
    if job.state is JobState.QUEUED:
        return body | {"status": "IN_QUEUE", "queue_position": position}
    if job.state is JobState.RUNNING:
        if job.preview is not None:
            # The step makes it another URL for each picture: pages show what they have not cached.
            body["preview_url"] = f"{body['response_url']}/preview?step={job.preview.step}"
        return body | {"status": "IN_PROGRESS"}
    body["status"] = "COMPLETED"
    if job.inference_seconds is not None:
        body["metrics"] = {"inference_time": round(job.inference_seconds, 3)}
    if job.outcome is not None and job.outcome.error is not None:
        body |= {"error": job.outcome.error, "error_type": job.outcome.error_type}
    return body


def status_code(job: Job) -> int:
    """Return the HTTP status of a status answer: fal's SDK takes 200 for "completed"."""
    return 200 if job.state.is_final else 202


def result_body(outcome: Outcome, urls: Urls) -> dict[str, Any]:
    """Return the body of a result, with the URLs of stored files made absolute."""
    absolute: dict[str, Any] = _absolute(outcome.body, urls.files)
    return absolute


def log_body(entry: LogEntry) -> dict[str, Any]:
    """Return one log line with every field that some client insists on."""
    at = datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="milliseconds")
    return {
        "message": entry.message,
        "timestamp": at.replace("+00:00", "Z"),
        "level": entry.level,
        "source": "USER",
        "labels": {"level": entry.level, "source": "USER"},
    }


def model_error(
    type: str,
    message: str,
    *,
    loc: tuple[str | int, ...] = ("body",),
    ctx: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return fal's model error body with one entry."""
    entry: dict[str, Any] = {
        "loc": list(loc),
        "msg": message,
        "type": type,
        "url": ERROR_URL + type,
    }
    return {"detail": [entry | ({"ctx": ctx} if ctx else {})]}


def request_error(message: str, error_type: str) -> dict[str, Any]:
    """Return fal's request error body; `error_type` goes into `X-Fal-Error-Type` as well."""
    return {"detail": message, "error_type": error_type}


def succeeded(body: dict[str, Any]) -> Outcome:
    """Return the outcome of a job whose output body is *body*."""
    return Outcome(state=JobState.SUCCEEDED, status_code=200, body=body)


def engine_failed(
    error: str, message: str, *, part: str = "", input: Mapping[str, Any] | None = None
) -> Outcome:
    """Return the outcome for an error of the engine.

    Args:
        error: The name of its class.
        message: Its sentence.
        part: The part of the plan that it is about; empty for none in particular.
        input: The client's input, in which that part is looked for.
    """
    status, type = ENGINE_ERRORS.get(error, (500, "internal_server_error"))
    fields = [name for name in PARTS.get(part, ()) if (input or {}).get(name)]
    return Outcome(
        state=JobState.FAILED,
        status_code=status,
        body=model_error(type, message, loc=("body", *fields[:1])),
        error=message,
        error_type=type,
    )


def input_refused(error: WanLocalError, loc: tuple[str | int, ...]) -> Outcome:
    """Return the outcome for what a client sent along, with the field it stands in."""
    status, type = ENGINE_ERRORS.get(error.__class__.__name__, (500, "internal_server_error"))
    ctx = None
    if isinstance(error, BadMedia):
        type, ctx = error.type, error.ctx
    return Outcome(
        state=JobState.FAILED,
        status_code=status,
        body=model_error(type, str(error), loc=loc, ctx=ctx),
        error=str(error),
        error_type=type,
    )


def surprised() -> Outcome:
    """Return the outcome for an error of ours that nobody foresaw."""
    return engine_failed("", "Internal error while the request was being prepared")


def _identity(job: Job, urls: Urls) -> dict[str, Any]:
    # Clients rebuild these from the first two segments of the endpoint id, so we do too.
    app = "/".join(job.request.endpoint.split("/")[:2])
    response = f"{urls.queue}/{app}/requests/{job.id}"
    return {
        "request_id": job.id,
        "response_url": response,
        "status_url": f"{response}/status",
        "cancel_url": f"{response}/cancel",
    }


def _absolute(value: Any, base: str) -> Any:
    if isinstance(value, dict):
        return {
            key: f"{base}{item}"
            if key == "url" and isinstance(item, str) and item.startswith("/")
            else _absolute(item, base)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_absolute(item, base) for item in value]
    return value
