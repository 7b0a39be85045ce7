"""What web pages may do with a server on the machine they are shown on."""

from __future__ import annotations

import socket

import pytest
from starlette.testclient import TestClient

from server.app import create_app
from server.services import open_services
from tests.server.api.conftest import T2V

PAGE = "https://app.example"


@pytest.fixture
def with_page(settings):
    """A client of a server that lets the pages of `PAGE` in."""
    services = open_services(settings.model_copy(update={"cors_origins": (PAGE,)}))
    with TestClient(create_app(services), base_url="http://localhost:8900") as client:
        yield client
    services.close()


def submit(client, **headers):
    return client.post(f"/queue/{T2V}", json={"prompt": "a"}, headers=headers)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:3000"])
def test_a_strange_page_cannot_spend_the_gpu(client, hand, origin):
    """Browsers send simple POSTs without asking first."""
    answer = submit(client, origin=origin)

    assert 403 == answer.status_code
    assert 0 == hand.queued()
    assert "access-control-allow-origin" not in answer.headers


def test_a_strange_page_cannot_read(client):
    """GETs are answered, but without the header the browser keeps the answer from the page."""
    answer = client.get("/models", headers={"origin": "https://evil.example"})

    assert "access-control-allow-origin" not in answer.headers


def test_our_own_page_may_call(client):
    """Same origin."""
    assert 200 == submit(client, origin="http://localhost:8900").status_code


def test_a_listed_page_may_call_and_read(with_page):
    """With the request id exposed: JavaScript's result has it from nowhere else."""
    answer = submit(with_page, origin=PAGE)

    assert 200 == answer.status_code
    assert PAGE == answer.headers["access-control-allow-origin"]
    assert "x-fal-request-id" in answer.headers["access-control-expose-headers"]
    assert "origin" in answer.headers["vary"].lower()


def test_a_listed_page_may_read_its_errors(with_page):
    """Without the header on a 422 or 404 the page sees only `Failed to fetch`."""
    bad = with_page.post(f"/queue/{T2V}", json={}, headers={"origin": PAGE})
    lost = with_page.get("/queue/fal-ai/wan/requests/x/status", headers={"origin": PAGE})

    assert [(422, PAGE), (404, PAGE)] == [
        (answer.status_code, answer.headers["access-control-allow-origin"])
        for answer in (bad, lost)
    ]


def preflight(client, origin, **headers):
    asked = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, x-fal-target-url",
    }
    return client.options("/fal/proxy", headers=asked | headers)


def test_a_preflight_of_a_listed_page(with_page):
    """Asked before every call that carries a key or fal's headers."""
    answer = preflight(with_page, PAGE)

    assert 204 == answer.status_code
    assert PAGE == answer.headers["access-control-allow-origin"]
    assert "PUT" in answer.headers["access-control-allow-methods"]
    assert "authorization, x-fal-target-url" == answer.headers["access-control-allow-headers"]
    assert "access-control-allow-private-network" not in answer.headers


def test_a_preflight_from_the_internet_to_the_local_network(with_page):
    """Chrome asks for this leave separately."""
    answer = preflight(with_page, PAGE, **{"access-control-request-private-network": "true"})

    assert "true" == answer.headers["access-control-allow-private-network"]


def test_a_preflight_of_a_strange_page(with_page):
    """No, and nothing else."""
    answer = preflight(with_page, "https://evil.example")

    assert 403 == answer.status_code
    assert "access-control-allow-origin" not in answer.headers


def test_a_star_lets_every_page_in(settings):
    """The operator's choice; credentials in cookies do not exist here."""
    services = open_services(settings.model_copy(update={"cors_origins": ("*",)}))
    with TestClient(create_app(services), base_url="http://localhost:8900") as client:
        answer = submit(client, origin="https://any.example")
    services.close()

    assert (200, "https://any.example") == (
        answer.status_code,
        answer.headers["access-control-allow-origin"],
    )


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "localhost:8900", "127.0.0.1:8900", "127.8.8.8", "[::1]:8900", "fal.localhost",
        "queue.fal.run", "rest.fal.ai", "LOCALHOST", socket.gethostname(),
        f"queue.{socket.gethostname()}:8943",
    ],
)  # fmt: skip
def test_the_servers_own_names_are_answered(client, host):
    """Whatever a client on this machine may call it, fal's names in a hosts file included."""
    assert 421 != client.get("/health", headers={"host": host}).status_code


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "10.0.0.7:8900", "0"])
def test_a_name_that_was_bent_to_this_machine_is_not_answered(client, hand, host):
    """DNS rebinding: the page's own name points here, so its calls count as same origin."""
    answer = submit(client, host=host, origin=f"http://{host}")

    assert 421 == answer.status_code
    assert host.partition(":")[0] in answer.json()["detail"]
    assert 0 == hand.queued()


def test_with_a_key_any_name_will_do(client, services):
    """The strange page has no key; the office's DNS may call the server what it likes."""
    id, secret = services.keys.create("studio")
    answer = submit(client, host="wan.studio.lan", authorization=f"Key {id}:{secret}")

    assert 200 == answer.status_code
    assert 401 == submit(client, host="evil.example").status_code
