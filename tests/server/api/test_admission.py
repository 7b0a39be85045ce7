"""What gets into the queue, and what is refused at the door."""

from __future__ import annotations

import shutil
import time

import pytest
from starlette.testclient import TestClient

from server.app import create_app
from server.jobs.model import Priority
from server.services import open_services
from tests.server.api.conftest import T2V

# Bodies that made a plain FastAPI sample answer 500 or drop the connection, and their relatives.
BAD_BODIES = {
    "an exponent past every float, as seed": b'{"prompt":"a","seed":1e400}',
    "an array": b"[]",
    "bytes that are no UTF-8": b'{"prompt":"\xff\xfe"}',
    "a seed of 23 digits": b'{"prompt":"a","seed":99999999999999999999999}',
    "a byte order mark": b'\xef\xbb\xbf{"prompt":"a"}',
    "a boolean for a number": b'{"prompt":"a","num_frames":true}',
    "200 000 levels": b'{"prompt":"a","x":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "2 000 levels": b'{"prompt":"a","x":' + b"[" * 2000 + b"]" * 2000 + b"}",
    "a name twice": b'{"prompt":"a","prompt":1}',
    "nothing": b"",
    "half a frame": b'{"prompt":"a","num_frames":81.5}',
    "a seed past every float": b'{"prompt":"a","seed":1e30}',
    "a seed of 5 000 digits": b'{"prompt":"a","seed":' + b"9" * 5000 + b"}",
    "infinity": b'{"prompt":"a","guidance_scale":1e999}',
    "a seed of 2**63": b'{"prompt":"a","seed":9223372036854775808}',
    "half a surrogate pair": b'{"prompt":"\\ud800"}',
    "not a number": b'{"prompt":"a","guidance_scale":NaN}',
    "minus infinity": b'{"prompt":"a","guidance_scale":-Infinity}',
    "a NUL": b'{"prompt":"a\\u0000b"}',
    "null": b"null",
    "a string": b'"x"',
    "half a body": b'{"prompt":"a"',
    "UTF-16": '{"prompt":"a"}'.encode("utf-16"),
    "a prompt of 10 MB": b'{"prompt":"' + b"a" * 10_000_000 + b'"}',
    "a thousand phrases to avoid": b'{"prompt":"a","negative_prompt":["' + b"b" * 10_001 + b'"]}',
    "a prompt that is an object": b'{"prompt":{"a":' + b"[" * 500 + b"]" * 500 + b"}}",
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
@pytest.mark.parametrize("service", ["queue", "run"])
def test_a_bad_body_is_the_clients_mistake(client, hand, service, body):
    """422 in fal's shape, never a 5xx: clients repeat those, and operators get up for them."""
    answer = client.post(
        f"/{service}/{T2V}", content=body, headers={"content-type": "application/json"}
    )

    assert 422 == answer.status_code
    assert "false" == answer.headers["x-fal-retryable"]
    assert 0 == hand.queued()
    for detail in answer.json()["detail"]:
        assert {"loc", "msg", "type", "url"} <= set(detail)
        assert f"https://docs.fal.ai/errors/#{detail['type']}" == detail["url"]
        assert len(answer.content) < 5000


BAD_FILES = {
    "image-to-video": [
        {"image_url": value} for value in (7, True, [], {}, ["https://a/b.png"], "", " ", "a\0b")
    ]
    + [{"end_image_url": value} for value in (7, [], "a\0b")],
    "video-to-video": [{"video_url": {"url": "https://a/b.mp4"}}, {"strength": 1.01}],
    "text-to-video/lora": [
        {"loras": value}
        for value in ("style", {"path": "a"}, ["a"], [{}], [{"path": 7}], [{"path": "a"}] * 17)
    ],
    "text-to-image": [
        {"image_size": value}
        for value in ("big", 7, [64, 64], {"width": -1}, {"width": 9e9}, {"height": "x"})
    ],
}


@pytest.mark.parametrize("task", BAD_FILES)
def test_a_bad_file_or_size_is_the_clients_mistake(client, hand, task):
    """At the field that it stands in, one entry each, in the queue and in `run`."""
    whole = {"prompt": "a", "image_url": "https://a/b.png", "video_url": "https://a/b.mp4"}
    for change in BAD_FILES[task]:
        for service in ("queue", "run"):
            answer = client.post(f"/{service}/fal-ai/wan/v2.2-a14b/{task}", json=whole | change)
            [field] = change

            assert 422 == answer.status_code, change
            assert [["body", field]] == [error["loc"][:2] for error in answer.json()["detail"]]
    assert 0 == hand.queued()


@pytest.mark.parametrize(
    ("field", "value", "type", "ctx"),
    [
        ("resolution", "1080p", "one_of", {"expected": ["480p", "580p", "720p"]}),
        ("aspect_ratio", 1, "one_of", {"expected": ["16:9", "9:16", "1:1"]}),
        ("num_frames", 16, "greater_than_equal", {"ge": 17}),
        ("num_frames", 162, "less_than_equal", {"le": 161}),
        ("guidance_scale", 10.5, "less_than_equal", {"le": 10.0}),
        ("seed", -1, "greater_than_equal", {"ge": 0}),
        ("prompt", "a" * 10_001, "sequence_too_long", {"max_length": 10_000}),
        ("prompt", ["a"], "string_type", None),
        ("enable_safety_checker", "perhaps", "bool_parsing", None),
        ("num_inference_steps", "many", "int_parsing", None),
    ],
)
def test_errors_have_fals_names(client, field, value, type, ctx):
    """Front ends match on the type and read the bounds out of ctx."""
    answer = client.post(f"/queue/{T2V}", json={"prompt": "a", field: value})
    (detail,) = answer.json()["detail"]

    assert 422 == answer.status_code
    assert (["body", field], type, ctx) == (detail["loc"], detail["type"], detail.get("ctx"))
    assert (value if len(str(value)) < 1000 else None) == detail.get("input")


def test_a_missing_prompt_is_named(client):
    """The first mistake everybody makes."""
    (detail,) = client.post(f"/queue/{T2V}", json={"steps": 4}).json()["detail"]

    assert ("missing", ["body", "prompt"], "Field required") == (
        detail["type"],
        detail["loc"],
        detail["msg"],
    )
    assert {"steps": 4} == detail["input"]


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("fal-ai/flux/dev", "Application 'fal-ai/flux/dev' not found"),
        (f"{T2V}/turbo/extra", "Path /extra not found"),
        ("fal-ai/wan", "Application 'fal-ai/wan' not found"),
        ("x", "Application 'x' not found"),
    ],
)
@pytest.mark.parametrize("service", ["queue", "run"])
def test_an_unknown_endpoint_is_not_found(client, service, path, detail):
    """And the answer says what there is."""
    answer = client.post(f"/{service}/{path}", json={"prompt": "a"})

    assert 404 == answer.status_code
    assert answer.json()["detail"].startswith(detail)


def test_a_seed_is_drawn_once_and_kept(client, services, submit):
    """A retry after a crash must make the same video."""
    first, second = submit(), submit(seed=None)
    seeds = [services.jobs.get(body["request_id"]).request.seed for body in (first, second)]

    assert all(0 <= seed < 2**31 for seed in seeds)
    assert seeds[0] != seeds[1]
    assert 7 == services.jobs.get(submit(seed=7)["request_id"]).request.seed
    assert 0 == services.jobs.get(submit(seed=0)["request_id"]).request.seed


def test_a_job_that_brings_files_waits_until_they_are_here(client, services, submit):
    """And one that brings none may be run at once."""
    with_lora = client.post(
        f"/queue/{T2V}/lora", json={"prompt": "a", "loras": [{"path": "my-style"}]}
    ).json()["request_id"]

    assert [with_lora] == [job.id for job in services.jobs.unprepared()]
    assert submit()["request_id"] == services.jobs.claim("gpu0", frozenset()).id


def test_the_job_keeps_the_input_with_its_defaults(services, submit):
    """The input is planned again when the job is given out, perhaps by a later release."""
    id = submit(duration="5s", end_user_id="me", negative_prompt=["bad", "ugly"])["request_id"]
    request = services.jobs.get(id).request

    assert T2V == request.endpoint
    assert "wan2.2-t2v-a14b" == request.affinity
    assert ("bad, ugly", 81, 3.5) == tuple(
        request.input[name] for name in ("negative_prompt", "num_frames", "guidance_scale")
    )
    assert "duration" not in request.input


def test_headers_become_properties_of_the_job(client, services):
    """Priority, retries, deadline, lifetime, webhook."""
    before = time.time()
    answer = client.post(
        f"/queue/{T2V}?fal_webhook=http%3A%2F%2F127.0.0.1%3A9%2Fhook%3Fa%3Db%26c%3Dd",
        json={"prompt": "a"},
        headers={
            "X-Fal-Queue-Priority": "low",
            "X-Fal-No-Retry": "1",
            "X-Fal-Request-Timeout": "30.0",
            "X-Fal-Object-Lifecycle-Preference": '{"expiration_duration_seconds":3600}',
            "X-Fal-Store-IO": "0",
            "X-Fal-Runner-Hint": "h1",
        },
    )
    request = services.jobs.get(answer.json()["request_id"]).request

    assert (Priority.LOW, False, 3600.0) == (request.priority, request.retry, request.output_ttl)
    assert before + 30 <= request.start_deadline <= time.time() + 30
    assert "http://127.0.0.1:9/hook?a=b&c=d" == request.webhook
    assert "http://localhost:8900" == request.base_url


def test_previews_are_off_unless_asked_for(client, services):
    """They cost a little of each step that draws one."""
    asked = client.post(f"/queue/{T2V}", json={"prompt": "a"}, headers={"X-Wan-Preview": "3"})
    plain = client.post(f"/queue/{T2V}", json={"prompt": "a"})

    assert [3, 0] == [
        services.jobs.get(answer.json()["request_id"]).request.preview_every
        for answer in (asked, plain)
    ]


def test_the_operator_may_turn_previews_on_and_a_client_off(settings):
    """A studio that always looks should not have to change its programs."""
    services = open_services(settings.model_copy(update={"preview_every": 5}))
    with TestClient(create_app(services), base_url="http://localhost:8900") as client:
        answers = [
            client.post(f"/queue/{T2V}", json={"prompt": "a"}, headers=headers)
            for headers in ({}, {"X-Wan-Preview": "0"})
        ]
    jobs = [services.jobs.get(answer.json()["request_id"]) for answer in answers]
    services.close()

    assert [5, 0] == [job.request.preview_every for job in jobs]


def test_an_idempotency_key_makes_one_job_of_many_calls(client, hand):
    """fal_client sends a submission again when the answer was lost."""
    twice = [
        client.post(f"/queue/{T2V}", json={"prompt": "a"}, headers={"Idempotency-Key": "shot-12"})
        for _ in range(2)
    ]

    assert twice[0].json() == twice[1].json()
    assert 1 == hand.queued()


def test_a_client_may_refuse_to_wait_behind_others(client, submit):
    """`fal_max_queue_length`: more than so many waiting is 429, which clients try again."""
    submit()
    submit()
    full = client.post(f"/queue/{T2V}?fal_max_queue_length=1", json={"prompt": "a"})
    fits = client.post(f"/queue/{T2V}?fal_max_queue_length=2", json={"prompt": "a"})

    assert 429 == full.status_code
    assert "2 requests are waiting" in full.json()["detail"]
    assert full.headers["retry-after"]
    assert 200 == fits.status_code


def test_a_job_that_could_never_run_is_not_taken(client, hand, weights_dir):
    """Without weights the queue would fill with jobs that fail hours later; the message helps."""
    shutil.rmtree(weights_dir / "wan2.2-t2v-a14b")
    answer = client.post(f"/queue/{T2V}", json={"prompt": "a"})
    (detail,) = answer.json()["detail"]

    assert 422 == answer.status_code
    assert "feature_not_supported" == detail["type"]
    assert "hf download Wan-AI/Wan2.2-T2V-A14B-Diffusers" in detail["msg"]
    assert 0 == hand.queued()


def test_turbo_without_its_loras_is_not_taken(client, hand, weights_dir):
    """Four steps on the base weights make a blur that nobody asked for."""
    shutil.rmtree(weights_dir / "loras")
    answer = client.post(f"/queue/{T2V}/turbo", json={"prompt": "a"})
    (detail,) = answer.json()["detail"]

    assert (422, "feature_not_supported") == (answer.status_code, detail["type"])
    assert "hf download lightx2v/Wan2.2-Distill-Loras wan2.2_t2v_A14b_high" in detail["msg"]
    assert 0 == hand.queued()
    assert 200 == client.post(f"/queue/{T2V}", json={"prompt": "a"}).status_code


def test_an_operator_may_let_turbo_run_without(settings, weights_dir):
    """To see the queue work before a gigabyte is fetched; the job's log says what it ran on."""
    shutil.rmtree(weights_dir / "loras")
    lenient = open_services(settings.model_copy(update={"turbo_without_lora": True}))
    with TestClient(create_app(lenient), base_url="http://localhost:8900") as client:
        answer = client.post(f"/queue/{T2V}/turbo", json={"prompt": "a"})
    lenient.close()

    assert 200 == answer.status_code


def test_a_check_that_cannot_be_made_is_refused_at_once(settings):
    """Where the operator wants it so: with the command that would make it possible."""
    strict = settings.model_copy(update={"safety_without_weights": "refuse"})
    opened = open_services(strict)
    try:
        with TestClient(create_app(opened), base_url="http://localhost:8900") as client:
            body = {"prompt": "a cat", "enable_output_safety_checker": True}
            answer = client.post(f"/queue/{T2V}", json=body)
            taken = client.post(f"/queue/{T2V}", json={"prompt": "a cat"})
    finally:
        opened.close()

    assert 422 == answer.status_code
    assert "hf download Falconsai/nsfw_image_detection" in answer.json()["detail"][0]["msg"]
    assert 200 == taken.status_code


def test_a_prompt_to_expand_elsewhere_waits_for_it(settings):
    """A slot may have the job once it is written out; other jobs are free at once."""
    asking = {"expansion": "openai", "expansion_url": "http://127.0.0.1:9/v1"}
    opened = open_services(settings.model_copy(update=asking))
    try:
        with TestClient(create_app(opened), base_url="http://localhost:8900") as client:
            for body in ({"enable_prompt_expansion": True}, {}):
                client.post(f"/queue/{T2V}", json={"prompt": "a cat", **body})
        waiting = opened.jobs.unprepared()
        claimed = opened.jobs.claim("gpu0", frozenset())
    finally:
        opened.close()

    assert [True] == [job.request.input["enable_prompt_expansion"] for job in waiting]
    assert not claimed.request.input["enable_prompt_expansion"]


def test_damaged_weights_are_the_servers_fault(client, weights_dir):
    """The request is fine; somebody has to repair the server."""
    (weights_dir / "wan2.2-t2v-a14b" / "vae" / "config.json").unlink()
    answer = client.post(f"/queue/{T2V}", json={"prompt": "a"})

    assert (500, "true") == (answer.status_code, answer.headers["x-fal-retryable"])
    assert "internal_server_error" == answer.json()["detail"][0]["type"]


def test_a_lora_with_a_bracket_out_of_place_is_no_internal_error(client):
    """It is let in, as any address is, and refused by the fetcher with its sentence."""
    body = {"prompt": "a", "loras": [{"path": "https://[x"}]}

    assert 200 == client.post(f"/queue/{T2V}/lora", json=body).status_code


def test_one_url_as_picture_and_lora_is_no_internal_error(client):
    """The planner asks for the picture's size, and once was given the LoRA."""
    url = "https://example.com/a.png"
    body = {"prompt": "a", "image_url": url, "loras": [{"path": url}]}
    answer = client.post("/queue/fal-ai/wan/v2.2-a14b/image-to-video/lora", json=body)

    assert "hf download" in answer.json()["detail"][0]["msg"]  # past the plan: no weights here
