"""Checks and expansion on a real server: what its client gets to read."""

from __future__ import annotations

import base64
import io
import time

import httpx
import pytest
from PIL import Image

from tests.running_server import running_server
from tests.server.language_server import running

SMALL = {
    "prompt": "a cat",
    "resolution": "480p",
    "num_frames": 17,
    "num_inference_steps": 2,
    "interpolator_model": "none",
}


@pytest.fixture(scope="module")
def result_of(weights, tmp_path_factory):
    """A server that checks everything and has prompts expanded; return what runs a job on it."""
    folder = tmp_path_factory.mktemp("refusals")
    (folder / "words.txt").write_text("gun\n")
    with running() as language:
        settings = {
            "WAN_LOCAL_SAFETY": "force",
            "WAN_LOCAL_SAFETY_WORDS": str(folder / "words.txt"),
            "WAN_LOCAL_EXPANSION": "openai",
            "WAN_LOCAL_EXPANSION_URL": language.url,
        }
        with (
            running_server(folder / "data", weights, tls=False, **settings) as server,
            httpx.Client(base_url=f"{server.url}/queue/fal-ai/wan/v2.2-a14b") as client,
        ):
            yield lambda endpoint, **body: result(client, endpoint, SMALL | body)
        assert [] == list((folder / "data" / "outputs").iterdir())


def result(client, endpoint, body):
    submitted = client.post(f"/{endpoint}", json=body).raise_for_status().json()
    while client.get(submitted["status_url"]).json()["status"] != "COMPLETED":
        time.sleep(0.1)
    return client.get(submitted["response_url"])


def picture(colour):
    file = io.BytesIO()
    Image.new("RGB", (128, 72), colour).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


@pytest.mark.parametrize(
    ("endpoint", "body", "field"),
    [
        ("text-to-video", {"prompt": "a gun"}, "prompt"),
        ("image-to-video", {"image_url": picture("red")}, "image_url"),
        (
            "image-to-video",
            {"image_url": picture("green"), "end_image_url": picture("red")},
            "end_image_url",
        ),
    ],
)
def test_what_is_flagged_is_refused_and_named(result_of, endpoint, body, field):
    """With fal's type, at the client's own field, and not to be tried again."""
    answer = result_of(endpoint, **body)
    (detail,) = answer.json()["detail"]

    assert 422 == answer.status_code
    assert ("content_policy_violation", ["body", field]) == (detail["type"], detail["loc"])
    assert "false" == answer.headers["x-fal-retryable"]


def test_what_passes_is_made_from_the_expanded_prompt(result_of):
    """Checked before and after, and answered with the words that were used."""
    answer = result_of("text-to-video", enable_prompt_expansion=True)

    assert 200 == answer.status_code
    assert "a red cat runs" == answer.json()["prompt"]
