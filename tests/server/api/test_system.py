"""How the server is doing."""

from __future__ import annotations

import base64

import pytest
from starlette.testclient import TestClient

from server.app import create_app


def test_health_is_a_word(client):
    """For load balancers and container health checks, which have no key."""
    assert {"status": "ok"} == client.get("/health").json()


def test_slots_show_what_each_gpu_does(services, hand):
    """The dispatcher describes them; the queue's counts stand beside."""
    row = {"slot": "gpu0", "device": "cpu", "state": "running", "job": "j"}
    with TestClient(
        create_app(services, slots=lambda: [row]), base_url="http://localhost"
    ) as client:
        body = client.get("/slots").json()

    assert [row] == body["slots"]
    assert 0 == body["jobs"]["queued"]


@pytest.mark.parametrize("path", ["/.well-known/jwks.json", "/rest/.well-known/jwks.json"])
def test_the_webhooks_key_is_public(client, path):
    """Fal's documented verifier decodes `x` without adding padding, so it is padded."""
    (key,) = client.get(path).json()["keys"]

    assert 32 == len(base64.urlsafe_b64decode(key["x"]))
