"""A server without GPUs: real services, and a hand that does the dispatcher's work."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from starlette.testclient import TestClient

from server.app import create_app
from server.jobs.model import JobState, LogEntry, Preview
from server.reporting import succeeded
from server.services import Services, open_services
from server.settings import Settings
from wan_local.catalog import LORAS
from wan_local.models.weights import COMPONENTS

T2V = "fal-ai/wan/v2.2-a14b/text-to-video"


@pytest.fixture
def weights_dir(tmp_path):
    """A weights directory in which every file of the checkpoint and its LoRAs is there by name.

    The HTTP half asks no more than that; loading it is tested where it is loaded.
    """
    folder = tmp_path / "weights" / "wan2.2-t2v-a14b"
    folder.mkdir(parents=True)
    index = {name: ["lib", part.classes[0]] for name, part in COMPONENTS.items()}
    (folder / "model_index.json").write_text(json.dumps(index))
    for name, part in COMPONENTS.items():
        (folder / name).mkdir()
        for file in (*part.required, *([part.weights] if part.weights else [])):
            (folder / name / file).write_text("{}")
    for spec in LORAS.values():
        (folder.parent / "loras" / spec.id).mkdir(parents=True)
        for file in (spec.high, spec.low):
            (folder.parent / "loras" / spec.id / file).touch()
    return folder.parent


@pytest.fixture
def settings(tmp_path, weights_dir):
    return Settings(data_dir=tmp_path / "data", weights_dir=weights_dir)


@pytest.fixture
def services(settings):
    opened = open_services(settings)
    yield opened
    opened.close()


@pytest.fixture
def client(services):
    """A client on this machine, with one event loop for all its requests."""
    with TestClient(create_app(services), base_url="http://localhost:8900") as client:
        yield client


@dataclass
class Hand:
    """Does by hand what the dispatcher and a GPU do."""

    services: Services

    def start(self):
        return self.services.jobs.claim("gpu0", frozenset())

    def say(self, job, message):
        self.services.jobs.log(job.id, job.attempt, LogEntry(1_700_000_000.0, "INFO", message))

    def show(self, job, step, jpeg):
        self.services.jobs.show(job.id, job.attempt, Preview(step, jpeg))

    def finish(self, job, outcome=None):
        body = {"video": {"url": "/cdn/files/token/a.mp4"}, "prompt": "a cat", "seed": 7}
        assert self.services.jobs.finish(job.id, job.attempt, outcome or succeeded(body))

    def queued(self):
        return self.services.jobs.counts()[JobState.QUEUED]


@pytest.fixture
def hand(services):
    return Hand(services)


@pytest.fixture
def submit(client):
    """Submit a job and return the answer's body."""

    def submit(**body):
        answer = client.post(f"/queue/{T2V}", json={"prompt": "a cat", **body})
        assert answer.status_code == 200, answer.text
        return answer.json()

    return submit
