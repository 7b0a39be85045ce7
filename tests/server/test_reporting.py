"""Jobs in fal's words."""

from __future__ import annotations

import inspect

import pytest

from server import reporting
from server.jobs.model import Job, JobState, LogEntry, NewJob, Outcome, Preview
from server.reporting import ENGINE_ERRORS, Urls
from wan_local import errors

URLS = Urls(queue="http://h/queue", files="http://h")


def job(**changes):
    new = NewJob(endpoint="fal-ai/wan/v2.2-a14b/text-to-video", input={}, seed=1)
    values = {"id": "j", "number": 1, "request": new, "state": JobState.QUEUED, "created_at": 1.0}
    return Job(**(values | changes))


def status(job, **options):
    return reporting.status_body(job, 3, URLS, **({"logs": False} | options))


def test_urls_are_those_clients_would_build():
    """JavaScript ignores ours and rebuilds them; both must lead to one place."""
    body = status(job())
    response = "http://h/queue/fal-ai/wan/requests/j"

    assert (response, f"{response}/status", f"{response}/cancel") == tuple(
        body[name] for name in ("response_url", "status_url", "cancel_url")
    )


@pytest.mark.parametrize(
    ("state", "word", "code"),
    [
        (JobState.QUEUED, "IN_QUEUE", 202),
        (JobState.RUNNING, "IN_PROGRESS", 202),
        (JobState.SUCCEEDED, "COMPLETED", 200),
        (JobState.FAILED, "COMPLETED", 200),
        (JobState.CANCELLED, "COMPLETED", 200),
    ],
)
def test_there_are_three_words_for_five_states(state, word, code):
    """Python raises on any other word, JavaScript polls for ever."""
    assert word == status(job(state=state))["status"]
    assert code == reporting.status_code(job(state=state))


def test_the_position_is_told_while_a_job_waits():
    """And only then: it is the sign of waiting to some clients."""
    assert 3 == status(job())["queue_position"]
    assert "queue_position" not in status(job(state=JobState.RUNNING))


def test_a_stream_gets_only_new_lines():
    """JavaScript appends what comes."""
    lines = tuple(LogEntry(float(n), "INFO", str(n)) for n in range(3))
    running = job(state=JobState.RUNNING, log=lines)

    assert ["0", "1", "2"] == [line["message"] for line in status(running, logs=True)["logs"]]
    assert ["2"] == [line["message"] for line in status(running, logs=True, since=2)["logs"]]
    assert [] == status(running, since=2)["logs"]


def test_a_preview_is_announced_while_there_is_one():
    """Each with a URL of its own, so that a page shows the new one and streams tell of it."""
    running = {"state": JobState.RUNNING}
    body = status(job(**running, preview=Preview(4, b"")))

    assert "http://h/queue/fal-ai/wan/requests/j/preview?step=4" == body["preview_url"]
    assert "preview_url" not in status(job(**running))


def test_inference_time_is_the_last_attempts():
    """Seconds on the GPU, not in the queue."""
    done = job(state=JobState.SUCCEEDED, started_at=10.0, finished_at=12.3456)

    assert {"inference_time": 2.346} == status(done)["metrics"]
    assert {} == status(job())["metrics"]


@pytest.mark.parametrize(
    ("outcome", "code", "type"),
    [
        (reporting.cancelled(), 499, "client_cancelled"),
        (reporting.never_started(), 504, "request_timeout"),
        (reporting.crashed(3), 503, "runner_disconnected"),
        (reporting.disk_full(), 503, "runner_scheduling_failure"),
        (reporting.engine_failed("InvalidPlan", "x"), 422, "value_error"),
        (reporting.engine_failed("InternalError", "x"), 500, "internal_server_error"),
    ],
)
def test_what_went_wrong_shows_in_the_status(outcome, code, type):
    """fal_client tells its user from these two fields."""
    body = status(job(state=outcome.state, outcome=outcome))

    assert (code, type) == (outcome.status_code, outcome.error_type)
    assert (outcome.error, type) == (body["error"], body["error_type"])


def test_a_success_has_no_error():
    """The mere key would make clients raise."""
    done = status(job(state=JobState.SUCCEEDED, outcome=reporting.succeeded({"seed": 1})))

    assert not {"error", "error_type"} & set(done)


def test_crashes_are_counted_in_words():
    """The sentence is read by people."""
    assert "died once on" in reporting.crashed(1).error
    assert "died 3 times on" in reporting.crashed(3).error


@pytest.mark.parametrize(
    ("part", "loc"),
    [("prompt", ["body", "prompt"]), ("first_frame", ["body", "image_url"]),
     ("last_frame", ["body", "end_image_url"]), ("start", ["body", "video_url"]), ("", ["body"])],
)  # fmt: skip
def test_a_content_refusal_has_fals_shape_and_points_at_the_field(part, loc):
    """Clients tell it from other errors by its type, and show it beside the field."""
    input = {"prompt": "a", "image_url": "i", "end_image_url": "e", "video_url": "v"}
    outcome = reporting.engine_failed("ContentRefused", "no", part=part, input=input)

    assert 422 == outcome.status_code
    assert {
        "detail": [
            {
                "loc": loc,
                "msg": "no",
                "type": "content_policy_violation",
                "url": "https://docs.fal.ai/errors/#content_policy_violation",
            }
        ]
    } == outcome.body


def test_a_start_may_be_a_picture():
    """Image to image calls its picture by the other name."""
    outcome = reporting.engine_failed(
        "ContentRefused", "no", part="start", input={"image_url": "i"}
    )

    assert ["body", "image_url"] == outcome.body["detail"][0]["loc"]


def test_every_engine_error_has_a_row():
    """A new class without one would be an internal error to its client."""
    classes = {
        name
        for name, value in inspect.getmembers(errors, inspect.isclass)
        if issubclass(value, errors.WanLocalError) and value is not errors.WanLocalError
    }

    assert classes == set(ENGINE_ERRORS)


def test_a_refused_input_names_its_field_and_its_limit():
    """A client marks the one and prints the other."""
    error = errors.BadMedia("Too long", type="video_duration_too_long", ctx={"max_duration": 60})

    outcome = reporting.input_refused(error, ("body", "video_url"))

    [detail] = outcome.body["detail"]
    assert (422, "video_duration_too_long") == (outcome.status_code, outcome.error_type)
    assert (["body", "video_url"], {"max_duration": 60}) == (detail["loc"], detail["ctx"])


def test_a_surprise_is_not_the_clients_fault():
    """It may be tried again."""
    assert 500 == reporting.surprised().status_code


def test_stored_files_become_absolute_urls():
    """However deep they stand; other URLs and other fields are left alone."""
    outcome = Outcome(
        state=JobState.SUCCEEDED,
        status_code=200,
        body={
            "video": {"url": "/cdn/files/t/a.mp4", "file_name": "/cdn/files"},
            "images": [{"url": "/cdn/files/t/b.png"}, {"url": "https://x/c.png"}],
            "url": None,
            "seed": 1,
        },
    )

    assert {
        "video": {"url": "http://h/cdn/files/t/a.mp4", "file_name": "/cdn/files"},
        "images": [{"url": "http://h/cdn/files/t/b.png"}, {"url": "https://x/c.png"}],
        "url": None,
        "seed": 1,
    } == reporting.result_body(outcome, URLS)


def test_a_model_error_has_fals_four_fields():
    """And `ctx` only when there is something in it."""
    plain = reporting.model_error("one_of", "no")["detail"][0]
    full = reporting.model_error("one_of", "no", loc=("body", "a"), ctx={"expected": [1]})

    assert {
        "loc": ["body"],
        "msg": "no",
        "type": "one_of",
        "url": "https://docs.fal.ai/errors/#one_of",
    } == plain
    assert (["body", "a"], {"expected": [1]}) == tuple(
        full["detail"][0][name] for name in ("loc", "ctx")
    )
