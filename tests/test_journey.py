"""One request from HTTP to MP4, through every room of the house. Read this test first.

The app is called in this process; everything else is the real thing: the job store on SQLite, the
dispatcher, a GPU process of its own (on the CPU), and a checkpoint with the architecture of
Wan 2.2 A14B and random weights.
"""

from __future__ import annotations

import time

import pytest
from starlette.testclient import TestClient

from server.cli.house import open_house
from server.jobs.model import JobState
from server.settings import Settings
from tests.watching import assert_moving_pictures, watch

ENDPOINT = "/fal-ai/wan/v2.2-a14b/text-to-video"
INPUT = {
    "prompt": "a red balloon rises over the city",
    "resolution": "480p",
    "num_frames": 21,
    "num_inference_steps": 4,
    "interpolator_model": "none",
}


@pytest.fixture
def house(tmp_path, weights):
    """A server without its doors, and its one slot running."""
    house = open_house(Settings(data_dir=tmp_path / "data", weights_dir=weights, device="cpu"))
    house.start()
    yield house
    house.drain()
    house.close()


def test_a_prompt_becomes_a_video(house):
    """If this fails, nothing else matters."""
    client = TestClient(house.app, base_url="http://127.0.0.1:8900")

    # api/queue.py validates the body, draws a seed, and commits a job to the store.
    submitted = client.post(f"/queue{ENDPOINT}", json=INPUT).json()
    assert "IN_QUEUE" == submitted["status"]

    # dispatch/dispatcher.py gives it to the slot; dispatch/gpu_process.py runs the engine, and
    # what the engine yields comes back as log lines.
    status = poll(client, submitted["status_url"])
    messages = [line["message"] for line in status["logs"]]
    assert "denoise 4/4" in messages
    assert "decode 21/21" in messages
    assert 0 < status["metrics"]["inference_time"]

    # planning.py made the body, media/artifacts.py holds the file.
    result = client.get(submitted["response_url"])
    assert 200 == result.status_code
    assert submitted["request_id"] == result.headers["x-fal-request-id"]
    video = result.json()["video"]
    content = client.get(video["url"]).content
    assert video["file_size"] == len(content)
    assert 21 == video["num_frames"]
    assert_moving_pictures(watch(content), 21)

    # jobs/store.py remembers what was asked and the seed that makes it again.
    job = house.services.jobs.get(submitted["request_id"])
    assert JobState.SUCCEEDED == job.state
    assert 1 == job.attempt
    assert result.json()["seed"] == job.request.seed
    again = client.post(f"/queue{ENDPOINT}", json=INPUT | {"seed": job.request.seed}).json()
    poll(client, again["status_url"])
    url = client.get(again["response_url"]).json()["video"]["url"]
    assert (watch(content) == watch(client.get(url).content)).all()


def poll(client, status_url):
    """Ask until the job has ended, as every client does."""
    while True:
        status = client.get(status_url, params={"logs": "1"}).json()
        if status["status"] == "COMPLETED":
            assert "error" not in status, status
            return status
        time.sleep(0.05)
