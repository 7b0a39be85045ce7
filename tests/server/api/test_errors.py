"""Exceptions become answers."""

from __future__ import annotations

import errno
import json
import logging

import pytest
from starlette.exceptions import HTTPException

from server.api.errors import Refused, answer_to, bad_request, error_headers, not_found
from server.jobs.store import QueueFull, StoreUnavailable
from server.media.uploads import MissingParts, UnknownUpload, UploadTooLarge


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (Refused(418, {"detail": "tea"}), 418, "tea"),
        (bad_request("no"), 400, "no"),
        (not_found("gone"), 404, "gone"),
        (HTTPException(404), 404, "Path /x not found"),
        (HTTPException(405), 405, "Method Not Allowed"),
        (QueueFull("9 jobs are waiting"), 429, "The queue is full: 9 jobs are waiting"),
        (StoreUnavailable("locked"), 503, "The server cannot write to its disk"),
        (UploadTooLarge("the upload is larger"), 413, "the upload is larger"),
        (UnknownUpload("no such upload"), 404, "no such upload"),
        (MissingParts("parts"), 400, "parts"),
        (OSError(errno.ENOSPC, "No space left", "/secret/path"), 507, "The server's disk is full"),
        (OSError(errno.EIO, "I/O error", "/secret/path"), 500, "Internal Server Error"),
        (RuntimeError("a secret of the inside"), 500, "Internal Server Error"),
    ],
)
def test_each_error_has_its_answer(error, status, detail):
    """Nothing about the inside gets out, and everything is JSON."""
    answer = answer_to(error, "/x")

    assert (status, detail) == (answer.status_code, json.loads(answer.body)["detail"])
    assert "application/json" == answer.headers["content-type"]


@pytest.mark.parametrize("error", [QueueFull("x"), StoreUnavailable("x")])
def test_what_passes_says_when_to_come_back(error):
    """Clients that read it wait; the others have a rule of their own."""
    assert "5" == answer_to(error, "/x").headers["retry-after"]


def test_the_unforeseen_is_logged_in_full(caplog):
    """The operator needs the traceback that the client does not get."""
    with caplog.at_level(logging.ERROR):
        answer_to(ZeroDivisionError("a secret of the inside"), "/x")

    assert "ZeroDivisionError: a secret of the inside" in caplog.text


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (422, {"detail": [{}]}, {"x-fal-retryable": "false"}),
        (500, {"detail": [{}]}, {"x-fal-retryable": "true"}),
        (404, {"detail": "x"}, {}),
        (200, {"video": {}}, {}),
        (400, {"detail": "x", "error_type": "bad_request"}, {"x-fal-error-type": "bad_request"}),
        (
            504,
            {"detail": "x", "error_type": "request_timeout"},
            {"x-fal-error-type": "request_timeout", "x-fal-request-timeout-type": "user"},
        ),
        (
            504,
            {"detail": "x", "error_type": "startup_timeout"},
            {"x-fal-error-type": "startup_timeout"},
        ),
    ],
)
def test_headers_say_whether_to_try_again(status, body, headers):
    """A start deadline the caller set himself is never tried again; Python looks at the header."""
    assert headers == error_headers(status, body)
