"""The status poll's fast path takes exactly the polls."""

from __future__ import annotations

import pytest

from server.api.polls import wants_logs
from tests.server.api.conftest import T2V


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        (b"", False), (b"logs=0", False), (b"logs=false", False), (b"logs=", False),
        (b"logs", False), (b"logs=1", True), (b"logs=true", True), (b"logs=True", True),
        (b"logs=yes", True), (b"a=b&logs=1", True), (b"nologs=1", False), (b"logs=2", False),
    ],
)  # fmt: skip
def test_logs_are_wanted_in_many_spellings(query, wanted):
    """A digit from JavaScript, a word from Python, nothing from huggingface_hub."""
    assert wanted == wants_logs(query)


def test_head_is_a_poll_without_a_body(client, submit):
    """As for any GET."""
    id = submit()["request_id"]
    answer = client.head(f"/queue/fal-ai/wan/requests/{id}/status")

    assert (202, b"") == (answer.status_code, answer.content)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", f"/queue/{T2V}/status", 404),
        ("GET", "/queue/requests/status", 405),
        ("GET", "/queue/a/requests/b/c/status", 405),
        ("POST", "/queue/a/requests/b/status", 404),
        ("GET", "/queue/a/b/requests//status", 404),
    ],
)
def test_what_only_looks_like_a_poll_is_not_one(client, method, path, status):
    """It goes on to the router, or names no job."""
    assert status == client.request(method, path, json={"prompt": "a"}).status_code


def test_an_endpoint_may_be_called_requests(client, submit):
    """The last `requests` in the path counts."""
    id = submit()["request_id"]

    assert 202 == client.get(f"/queue/a/requests/b/requests/{id}/status").status_code
