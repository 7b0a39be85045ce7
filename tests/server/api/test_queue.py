"""The queue's five calls, in every spelling and form that some client in the wild depends on."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from server.jobs.model import JobState
from server.reporting import engine_failed
from tests.server.api.conftest import T2V

SPELLINGS = [
    # who spells it so: (what it puts before `/requests`, what it puts at the end)
    pytest.param("/queue/fal-ai/wan", "", id="fal_client and JavaScript, by prefix"),
    pytest.param(f"/queue/{T2V}", "", id="curl examples with the whole endpoint id"),
    pytest.param("/queue/fal-ai/wan", "/", id="fal's server SDK, with a slash at the end"),
    pytest.param("/fal-ai/wan", "", id="no prefix at all"),
    pytest.param(f"/{T2V}/turbo/extra", "", id="any depth"),
    pytest.param("/queue/workflows/me/flow", "", id="a namespace"),
    pytest.param("/queue/FAL-AI/Wan", "", id="any case"),
]


@pytest.mark.parametrize(("app", "end"), SPELLINGS)
def test_one_job_answers_in_every_spelling(client, hand, submit, app, end):
    """The id alone names the job: each client shortens the endpoint in its own way."""
    id = submit()["request_id"]
    url = f"{app}/requests/{id}"

    assert 202 == client.get(f"{url}/status{end}?logs=1").status_code
    assert 400 == client.get(f"{url}{end}").status_code
    hand.finish(hand.start())

    assert 200 == client.get(f"{url}/status{end}").status_code
    assert 200 == client.get(f"{url}{end}").status_code
    assert 200 == client.get(f"{url}/response{end}").status_code
    assert 200 == client.get(f"{url}/status/stream{end}").status_code
    assert 400 == client.put(f"{url}/cancel{end}").status_code


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("localhost:8900", f"/queue/{T2V}"),
        ("localhost:8900", f"/{T2V}"),
        ("localhost:8900", f"/queue/{T2V.replace('a14b', 'a14B')}"),
        ("queue.localhost:8900", f"/{T2V}"),
        ("queue.fal.run", f"/{T2V}"),
        ("127.0.0.1:8900", f"/queue/{T2V}/"),
        ("[::1]:8900", f"/queue/{T2V}/turbo"),
    ],
)
def test_a_job_is_submitted_in_every_spelling(client, hand, host, path):
    """By prefix, by host name, with fal's own paths, and with the capital B of old type files."""
    answer = client.post(path, json={"prompt": "a cat"}, headers={"host": host})

    assert 200 == answer.status_code
    assert 1 == hand.queued()


def test_the_answer_to_a_submission(client):
    """The union of what all clients read: Python raises KeyError on each missing URL."""
    answer = client.post(f"/queue/{T2V}", json={"prompt": "a cat"})
    body = answer.json()
    id = body["request_id"]
    base = f"http://localhost:8900/queue/fal-ai/wan/requests/{id}"

    assert {
        "request_id": id,
        "response_url": base,
        "status_url": f"{base}/status",
        "cancel_url": f"{base}/cancel",
        "status": "IN_QUEUE",
        "queue_position": 0,
        "gateway_request_id": id,
        "logs": [],
        "metrics": {},
    } == body
    assert id == answer.headers["x-fal-request-id"]
    assert "application/json" == answer.headers["content-type"]


def test_the_status_of_a_waiting_job(client, submit):
    """Python raises KeyError without queue_position; Swift without logs and response_url."""
    submit()
    second = submit()
    answer = client.get(f"/queue/fal-ai/wan/requests/{second['request_id']}/status")

    assert 202 == answer.status_code
    assert {
        "status": "IN_QUEUE",
        "queue_position": 1,
        "logs": [],
        "metrics": {},
        **{k: second[k] for k in ("request_id", "response_url", "status_url", "cancel_url")},
    } == answer.json()


@pytest.mark.parametrize("logs", ["1", "true", "True", "YES"])
def test_a_running_job_shows_its_log(client, hand, submit, logs):
    """Every client spells the flag differently; Swift refuses a line without all its fields."""
    id = submit()["request_id"]
    job = hand.start()
    hand.say(job, "step 1 of 27")
    answer = client.get(f"/queue/fal-ai/wan/requests/{id}/status?logs={logs}")

    assert 202 == answer.status_code
    assert "IN_PROGRESS" == answer.json()["status"]
    assert [
        {
            "message": "step 1 of 27",
            "timestamp": "2023-11-14T22:13:20.000Z",
            "level": "INFO",
            "source": "USER",
            "labels": {"level": "INFO", "source": "USER"},
        }
    ] == answer.json()["logs"]


@pytest.mark.parametrize("query", ["", "?logs=0", "?logs=false", "?logs="])
def test_logs_that_nobody_asked_for_are_an_empty_list(client, hand, submit, query):
    """Null makes the sample in fal's own documentation throw: `update.logs.map(...)`."""
    id = submit()["request_id"]
    hand.say(hand.start(), "step 1 of 27")
    body = client.get(f"/queue/fal-ai/wan/requests/{id}/status{query}").json()

    assert [] == body["logs"]


def test_a_finished_job_is_completed_with_200(client, hand, submit):
    """Fal's SDK takes the HTTP status for the answer before it reads the body."""
    id = submit()["request_id"]
    hand.finish(hand.start())
    answer = client.get(f"/queue/fal-ai/wan/requests/{id}/status")

    assert 200 == answer.status_code
    assert "COMPLETED" == answer.json()["status"]
    assert "error" not in answer.json()
    assert 0 <= answer.json()["metrics"]["inference_time"]


def test_the_result_is_the_output_itself(client, hand, submit):
    """No wrapper around it; JavaScript finds the request id only in the header."""
    id = submit()["request_id"]
    hand.finish(hand.start())
    answer = client.get(f"/queue/fal-ai/wan/requests/{id}")

    assert 200 == answer.status_code
    assert id == answer.headers["x-fal-request-id"]
    assert {
        "video": {"url": "http://localhost:8900/cdn/files/token/a.mp4"},
        "prompt": "a cat",
        "seed": 7,
    } == answer.json()


def test_a_result_that_is_not_there_yet(client, submit):
    """@ai-sdk/fal compares this text letter by letter, and stops on any other."""
    answer = client.get(f"/queue/fal-ai/wan/requests/{submit()['request_id']}")

    assert 400 == answer.status_code
    assert {"detail": "Request is still in progress"} == answer.json()


def test_a_failed_job_is_completed_and_its_result_is_the_error(client, hand, submit):
    """Python raises on a FAILED status and JavaScript would poll for ever."""
    id = submit()["request_id"]
    hand.finish(hand.start(), engine_failed("OutOfMemory", "The plan needs 90 GB"))
    status = client.get(f"/queue/fal-ai/wan/requests/{id}/status")
    result = client.get(f"/queue/fal-ai/wan/requests/{id}")

    assert 200 == status.status_code
    assert ("COMPLETED", "The plan needs 90 GB", "internal_server_error") == tuple(
        status.json()[key] for key in ("status", "error", "error_type")
    )
    assert 500 == result.status_code
    assert "true" == result.headers["x-fal-retryable"]
    assert [
        {
            "loc": ["body"],
            "msg": "The plan needs 90 GB",
            "type": "internal_server_error",
            "url": "https://docs.fal.ai/errors/#internal_server_error",
        }
    ] == result.json()["detail"]


def test_a_waiting_job_is_cancelled_at_once(client, hand, submit):
    """Python's `client_timeout` blocks the interpreter's exit until the job is COMPLETED."""
    id = submit()["request_id"]
    answer = client.put(f"/queue/fal-ai/wan/requests/{id}/cancel")
    status = client.get(f"/queue/fal-ai/wan/requests/{id}/status")
    result = client.get(f"/queue/fal-ai/wan/requests/{id}")

    assert (202, {"status": "CANCELLATION_REQUESTED"}) == (answer.status_code, answer.json())
    assert (200, "COMPLETED") == (status.status_code, status.json()["status"])
    assert 499 == result.status_code
    assert "client_cancelled" == result.headers["x-fal-error-type"]
    assert "client_cancelled" == result.json()["error_type"]
    assert hand.start() is None


def test_a_running_job_is_asked_to_stop(client, hand, services, submit):
    """The GPU drops it within a step; until then the status says so."""
    id = submit()["request_id"]
    hand.start()
    answers = [client.put(f"/queue/fal-ai/wan/requests/{id}/cancel") for _ in range(2)]

    assert [(202, {"status": "CANCELLATION_REQUESTED"})] * 2 == [
        (answer.status_code, answer.json()) for answer in answers
    ]
    assert services.jobs.get(id).cancel_requested
    assert JobState.RUNNING is services.jobs.get(id).state


def test_a_finished_job_cannot_be_cancelled(client, hand, submit):
    """The output stays what it was."""
    id = submit()["request_id"]
    hand.finish(hand.start())
    answer = client.put(f"/queue/fal-ai/wan/requests/{id}/cancel")

    assert (400, {"status": "ALREADY_COMPLETED"}) == (answer.status_code, answer.json())
    assert 200 == client.get(f"/queue/fal-ai/wan/requests/{id}").status_code


@pytest.mark.parametrize("id", ["00000000-0000-0000-0000-000000000000", "x", "%00", "é", "a" * 500])
def test_an_unknown_job_is_not_found(client, id):
    """Whatever the id looks like, it is an answer and never a failure."""
    url = f"/queue/fal-ai/wan/requests/{id}"
    status, cancel = client.get(f"{url}/status"), client.put(f"{url}/cancel")

    assert (404, {"status": "NOT_FOUND"}) == (status.status_code, status.json())
    assert (404, {"status": "NOT_FOUND"}) == (cancel.status_code, cancel.json())
    assert 404 == client.get(f"{url}/status/stream").status_code
    assert (404, "Request not found") == (
        client.get(url).status_code,
        client.get(url).json()["detail"],
    )


def test_a_json_type_without_a_body_is_fine(client, submit):
    """JavaScript sends `Content-Type: application/json` on GET and on a PUT with nothing in it."""
    id = submit()["request_id"]
    typed = {"content-type": "application/json", "accept": "application/json, text/event-stream"}

    url = f"/queue/fal-ai/wan/requests/{id}"
    assert 202 == client.get(f"{url}/status", headers=typed).status_code
    assert 202 == client.put(f"{url}/cancel", headers=typed).status_code


def events(answer):
    lines = [line for line in answer.text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_a_stream_ends_with_completed(client, hand, submit):
    """Java's and Kotlin's `subscribe` read nothing else, and wait for this event."""
    id = submit()["request_id"]
    job = hand.start()
    hand.say(job, "step 1 of 2")
    hand.finish(job)
    answer = client.get(f"/queue/fal-ai/wan/requests/{id}/status/stream?logs=1")

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert id == answer.headers["x-fal-request-id"]
    assert "COMPLETED" == events(answer)[-1]["status"]
    assert ["step 1 of 2"] == [log["message"] for e in events(answer) for log in e["logs"]]


def test_times_in_the_log_can_be_read(client, hand, submit):
    """ISO 8601, UTC."""
    id = submit()["request_id"]
    hand.say(hand.start(), "x")
    log = client.get(f"/queue/fal-ai/wan/requests/{id}/status?logs=1").json()["logs"][0]

    assert 1_700_000_000 == datetime.fromisoformat(log["timestamp"]).timestamp()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"/queue/{T2V}", 405),
        ("DELETE", "/queue/fal-ai/wan/requests/x/status", 405),
        ("GET", "/queue/fal-ai/wan/requests/x/cancel", 405),
        ("POST", "/nowhere", 404),
        ("GET", "/", 404),
    ],
)
def test_what_has_no_route_says_so_in_json(client, method, path, status):
    """JavaScript shows nothing of an error that is not JSON."""
    answer = client.request(method, path)

    assert status == answer.status_code
    assert isinstance(answer.json()["detail"], str)
    assert answer.headers["x-fal-request-id"]


@pytest.mark.parametrize(("app", "end"), SPELLINGS)
def test_a_preview_is_a_picture_while_the_job_runs(client, hand, submit, app, end):
    """It is no part of fal's API: announced in the status, and only where there is one."""
    id = submit()["request_id"]
    url = f"{app}/requests/{id}"
    assert 404 == client.get(f"{url}/preview{end}").status_code
    job = hand.start()
    hand.show(job, 2, b"a picture")
    announced = client.get(f"{url}/status{end}").json()["preview_url"]

    for address in (announced, f"{url}/preview{end}"):
        picture = client.get(address)
        assert (200, b"a picture") == (picture.status_code, picture.content)
        assert "image/jpeg" == picture.headers["content-type"]
        assert "no-store" == picture.headers["cache-control"]
        assert id == picture.headers["x-fal-request-id"]

    hand.finish(job)
    gone = client.get(f"{url}/preview{end}")
    assert (404, {"detail": "There is no preview of this request at the moment"}) == (
        gone.status_code,
        gone.json(),
    )
    assert "preview_url" not in client.get(f"{url}/status{end}").json()


def test_a_preview_of_nobodys_job_is_not_found(client):
    """As its result is not."""
    answer = client.get(f"/queue/{T2V}/requests/nobodys/preview")

    assert (404, {"detail": "Request not found"}) == (answer.status_code, answer.json())
