"""The outermost layers: names, log lines, and no traceback for anybody."""

from __future__ import annotations

import logging

import pytest
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from server.api.door import Door, Net, shown
from server.telemetry import request_id


def serve(app):
    return TestClient(Door(Net(app)))


def test_every_answer_has_a_request_id():
    """Python takes a 502 to 504 without one for a broken gateway, and repeats the call."""
    client = serve(PlainTextResponse("x"))
    ids = {client.get("/").headers["x-fal-request-id"] for _ in range(10)}

    assert 10 == len(ids)


def test_the_id_of_a_job_is_left_alone():
    """JavaScript knows its request by this header only."""
    client = serve(PlainTextResponse("x", headers={"X-Fal-Request-Id": "job-1"}))

    assert ["job-1"] == client.get("/").headers.get_list("x-fal-request-id")


def test_log_lines_carry_the_id():
    """The id in an error report leads to the lines about it."""
    seen = []

    async def app(scope, receive, send):
        seen.append(request_id.get())
        await PlainTextResponse("x")(scope, receive, send)

    answer = serve(app).get("/")

    assert [answer.headers["x-fal-request-id"]] == seen
    assert "" == request_id.get()


def test_a_crash_is_a_500_without_its_reason(caplog):
    """The reason is in the log."""

    async def crash(*_):
        raise ZeroDivisionError("a secret of the inside")

    answer = serve(crash).get("/")

    assert (500, {"detail": "Internal Server Error"}) == (answer.status_code, answer.json())
    assert answer.headers["x-fal-request-id"]
    assert "a secret of the inside" in caplog.text


def test_a_crash_in_the_middle_of_an_answer_breaks_it_off():
    """A truncated answer must not look complete."""

    async def crash(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        serve(crash).get("/")


def test_a_client_that_left_is_no_error(caplog):
    """People close laptops."""

    async def leave(*_):
        raise ClientDisconnect

    with caplog.at_level(logging.INFO):
        TestClient(Door(Net(leave)), raise_server_exceptions=False).get("/")

    assert "the client left" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_polls_are_not_logged_but_the_rest_is(caplog):
    """Ten lines a second and client would bury everything else."""
    client = serve(PlainTextResponse("x"))
    with caplog.at_level(logging.INFO, "server"):
        client.get("/queue/a/requests/1/status")
        client.post("/queue/a?fal_webhook=http://h/?secret=1")

    assert ["POST /queue/a 200"] == [r.getMessage().rsplit(" ", 2)[0] for r in caplog.records]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/queue/a/requests/1", "/queue/a/requests/1"),
        ("/cdn/files/token/a.mp4", "/cdn/..."),
        ("/cdn/put/secret/a.mp4/3", "/cdn/..."),
    ],
)
def test_the_secret_of_a_url_stays_out_of_the_log(path, line):
    """Logs are read by more people than the files are meant for."""
    assert line == shown(path)
