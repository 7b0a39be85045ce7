"""Log lines: one a record, and no secrets."""

from __future__ import annotations

import io
import json
import logging

import pytest

from server.telemetry import configure_logging, redact, request_id


@pytest.fixture
def logged():
    """Configure logging into a buffer, and put back what was there."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()

    def begin(form):
        configure_logging(form, to=stream)
        return stream

    yield begin
    root.handlers[:], root.level = handlers, level


@pytest.mark.parametrize("form", ["plain", "json"])
def test_a_key_never_reaches_the_log(logged, form):
    """A canary: logs are copied into tickets and collectors."""
    lines = logged(form)
    logging.getLogger("x").warning("refused %s", {"authorization": "Key a1b2:canary-0123456789"})
    secret = "canary-0123456789"
    try:
        raise ValueError(f"Bearer {secret}")  # noqa: TRY301
    except ValueError:
        logging.getLogger("x").exception("failed")

    assert "canary" not in lines.getvalue()
    assert 2 == lines.getvalue().count("[redacted]")


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("https://a.lan/x.png?X-Sig=canary&e=1 failed", "https://a.lan/x.png?[redacted] failed"),
        ("http://ada:canary@llm.lan/v1: refused", "http://[redacted]@llm.lan/v1: refused"),
        ("'https://a.lan/x?token=canary'", "'https://a.lan/x?[redacted]'"),
        ("listening on http://127.0.0.1:8900", "listening on http://127.0.0.1:8900"),
        ("GET /queue/requests?logs=1 by ada@studio", "GET /queue/requests?logs=1 by ada@studio"),
    ],
)
def test_the_secrets_of_a_url_never_reach_the_log(line, kept):
    """Signed URLs are passwords to a bucket."""
    assert kept == redact(line)


def test_ordinary_words_are_left_alone():
    """`The key frame` is not a credential."""
    assert "the key frame is missing" == redact("the key frame is missing")


def test_a_json_line_names_its_request_and_job(logged):
    """Following one request through the log is what ids are for."""
    lines = logged("json")
    token = request_id.set("r-1")
    logging.getLogger("x").info("job %s: started", "j-1", extra={"job": "j-1"})
    request_id.reset(token)

    entry = json.loads(lines.getvalue())
    assert ("r-1", "j-1", "INFO") == (entry["request"], entry["job"], entry["level"])
    assert "job j-1: started" == entry["message"]


def test_a_client_cannot_begin_a_new_json_line(logged):
    """Injected line breaks would forge entries."""
    lines = logged("json")
    logging.getLogger("x").info("file %s", 'a\n{"level":"ERROR"}')

    assert 1 == len(lines.getvalue().splitlines())


def test_a_plain_line_ends_with_the_request(logged):
    """The same, for a person at a terminal."""
    lines = logged("plain")
    token = request_id.set("r-1")
    logging.getLogger("x").info("hello")
    request_id.reset(token)

    assert lines.getvalue().endswith("INFO    hello [r-1]\n")
