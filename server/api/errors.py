"""Exception -> HTTP status and error body, in one of fal's two shapes.

To add an error that handlers may raise: a row in `_ANSWERS`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.responses import Response

from server.disk import is_full
from server.jobs.store import QueueFull, StoreUnavailable
from server.media.uploads import MissingParts, UnknownUpload, UploadTooLarge
from server.reporting import request_error

log = logging.getLogger(__name__)

RETRY_AFTER = {"retry-after": "5"}


class Refused(Exception):
    """The request is answered with an error."""

    def __init__(
        self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.headers = headers or {}


def bad_request(message: str) -> Refused:
    """Return the refusal of a header or query parameter that cannot be understood."""
    return Refused(400, request_error(message, "bad_request"))


def not_found(message: str) -> Refused:
    """Return the refusal of a path that leads nowhere."""
    return Refused(404, {"detail": message})


def answer(
    body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a JSON response.

    The type must be exactly `application/json`: JavaScript's client hands anything else back as
    a string.
    """
    return Response(orjson.dumps(body), status, headers, "application/json")


def answer_error(
    status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> Response:
    """Return an error response, with the headers that go with its body."""
    return answer(body, status, {**error_headers(status, body), **(headers or {})})


def error_headers(status: int, body: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers that tell a client what kind of error *body* is.

    A list of details is a model error, of which every 422 is final; an `error_type` beside a text
    is a request error. A start deadline that was missed is the caller's own wish: clients never
    send such a request again.
    """
    if isinstance(body.get("detail"), list):
        return {"x-fal-retryable": "false" if status == 422 else "true"}
    if "error_type" not in body:
        return {}
    headers = {"x-fal-error-type": str(body["error_type"])}
    if status == 504 and body["error_type"] == "request_timeout":
        headers["x-fal-request-timeout-type"] = "user"
    return headers


def answer_to(error: Exception, path: str) -> Response:
    """Return the answer to a request for *path* that ended with *error*.

    What nobody foresaw is logged in full, and answered without a word about the inside.
    """
    if isinstance(error, Refused):
        return answer_error(error.status, error.body, error.headers)
    for kind, make in _ANSWERS.items():
        if isinstance(error, kind):
            return make(error, path)
    log.error("request failed", exc_info=error)
    return answer({"detail": "Internal Server Error"}, 500)


def _http(error: HTTPException, path: str) -> Response:
    detail = f"Path {path} not found" if error.status_code == 404 else error.detail
    return answer({"detail": detail}, error.status_code, error.headers)


def _queue_full(error: QueueFull, _: str) -> Response:
    return answer({"detail": f"The queue is full: {error}"}, 429, RETRY_AFTER)


def _store_unavailable(error: StoreUnavailable, _: str) -> Response:
    log.error("the job store is unavailable: %s", error)
    body = request_error("The server cannot write to its disk", "runner_scheduling_failure")
    return answer_error(503, body, RETRY_AFTER)


def _too_large(error: UploadTooLarge, _: str) -> Response:
    return answer({"detail": str(error)}, 413)


def _unknown_upload(error: UnknownUpload, _: str) -> Response:
    return answer({"detail": str(error)}, 404)


def _missing_parts(error: MissingParts, _: str) -> Response:
    return answer_error(400, request_error(str(error), "bad_request"))


def _os_error(error: OSError, _: str) -> Response:
    log.error("the disk refused", exc_info=error)
    if is_full(error):
        return answer({"detail": "The server's disk is full"}, 507)
    return answer({"detail": "Internal Server Error"}, 500)


# class -> what to answer; the first row that fits wins.
_ANSWERS: dict[type[Exception], Callable[[Any, str], Response]] = {
    HTTPException: _http,
    QueueFull: _queue_full,
    StoreUnavailable: _store_unavailable,
    UploadTooLarge: _too_large,
    UnknownUpload: _unknown_upload,
    MissingParts: _missing_parts,
    OSError: _os_error,
}
