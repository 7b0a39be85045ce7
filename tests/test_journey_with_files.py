"""A request that brings files: from an upload, through the capped process, to the engine and out.

The road of `test_journey.py`, with what happens before a job takes a slot.
"""

from __future__ import annotations

import base64
import time

import pytest
from starlette.testclient import TestClient

from server.cli.house import open_house
from server.jobs.model import JobState
from server.settings import Settings
from tests.wan_local.media.files import picture, video
from tests.watching import watch

A14B = "/fal-ai/wan/v2.2-a14b"
SMALL = {"prompt": "a red balloon", "resolution": "480p", "num_inference_steps": 2}


@pytest.fixture(scope="module")
def house(tmp_path_factory, weights):
    """A server without its doors, and its one slot running."""
    data = tmp_path_factory.mktemp("data")
    house = open_house(Settings(data_dir=data, weights_dir=weights, device="cpu"))
    house.start()
    yield house
    house.drain()
    house.close()


@pytest.fixture
def client(house):
    return TestClient(house.app, base_url="http://127.0.0.1:8900")


def upload(client, path) -> str:
    """Return the URL of *path* once it is on the server, under the name this client knows it by."""
    headers = {"x-fal-file-name": path.name}
    answer = client.post("/cdn/files/upload", content=path.read_bytes(), headers=headers)
    return answer.json()["access_url"]


def ended(client, house, endpoint, **input):
    submitted = client.post(f"/queue{A14B}{endpoint}", json=SMALL | input).json()
    job = house.services.jobs.get(submitted["request_id"])
    deadline = time.monotonic() + 200
    while not job.state.is_final:
        assert time.monotonic() < deadline, "the job did not end"
        time.sleep(0.05)
        job = house.services.jobs.get(job.id)
    return job, client.get(submitted["response_url"])


def test_an_uploaded_picture_becomes_a_video(client, house, tmp_path):
    """Uploaded under one name of the server and used under another; nothing is fetched."""
    url = upload(client, picture(tmp_path / "first.png", (832, 480)))
    elsewhere = url.replace("http://127.0.0.1:8900", "https://gpu-box.studio.lan")

    job, result = ended(client, house, "/image-to-video", image_url=elsewhere, num_frames=17)

    assert JobState.SUCCEEDED is job.state, job.outcome
    frames = watch(client.get(result.json()["video"]["url"]).content)
    assert 17 <= len(frames)
    assert frames.std(axis=(1, 2, 3)).min() > 1


def test_a_video_in_the_request_becomes_another(client, house, tmp_path):
    """As a data URI."""
    data = video(tmp_path / "a.mp4", 17, fps=16, size=(832, 480)).read_bytes()
    url = "data:video/mp4;base64," + base64.b64encode(data).decode()

    job, result = ended(client, house, "/video-to-video", video_url=url, num_frames=17)

    assert JobState.SUCCEEDED is job.state, job.outcome
    assert 200 == result.status_code


def test_what_is_no_picture_ends_the_job_before_a_gpu(client, house):
    """422 at the field, in the status and in the result; no attempt was begun."""
    url = "data:image/png;base64," + base64.b64encode(b"<svg/>" * 20).decode()

    job, result = ended(client, house, "/image-to-video", image_url=url)

    [detail] = result.json()["detail"]
    assert (422, 0) == (result.status_code, job.attempt)
    assert (["body", "image_url"], "unsupported_image_format") == (detail["loc"], detail["type"])
