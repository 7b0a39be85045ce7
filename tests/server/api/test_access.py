"""Who may call what: every route, with every kind of caller."""

from __future__ import annotations

import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

from server.api.access import is_public
from server.api.admission import Admission
from server.api.queue import Queue
from server.api.run import Run
from server.api.site import site_routes
from server.api.storage import Storage
from server.api.watching import Watcher
from server.app import create_app
from server.services import open_services
from tests.server.api.conftest import T2V

NOBODY = {"detail": "No user found for Key ID and Secret"}
PUBLIC = {
    "GET /health", "GET /.well-known/jwks.json", "GET /rest/.well-known/jwks.json",
    "GET /cdn/files/t/n", "PUT /cdn/put/u/n", "PUT /cdn/put/u/n/1", "POST /cdn/put/u/n/complete",
}  # fmt: skip


def routes(services):
    """Every route of the application, as a call with its parameters filled in."""
    admission, watcher = Admission(services), Watcher(services.jobs)
    tables = [
        Queue(services, admission, watcher), Run(services, admission, watcher), Storage(services),
    ]  # fmt: skip
    values = {
        "app:path": "fal-ai/wan", "endpoint:path": T2V, "id": "x", "token": "t", "name": "n",
        "upload": "u", "number:int": "1",
    }  # fmt: skip
    listed = [route for table in tables for route in table.routes()]
    for route in [*listed, *site_routes(services, list)]:
        assert isinstance(route, Route)
        path = route.path
        for name, value in values.items():
            path = path.replace(f"{{{name}}}", value)
        for method in sorted((route.methods or {"GET"}) - {"HEAD"}):
            yield f"{method} {path}"
    yield "GET /queue/fal-ai/wan/requests/x/status"


@pytest.fixture
def keys(services):
    """Two studios' keys, as headers."""
    pairs = [services.keys.create(name) for name in ("one", "two")]
    return [{"authorization": f"Key {id}:{secret}"} for id, secret in pairs]


def test_no_route_is_forgotten(client, services, keys):
    """Generated from the routes: a new one is closed until it is listed here as public."""
    calls = list(routes(services))
    strangers = [
        {}, {"authorization": "Key wrong:secret"}, {"authorization": "Bearer wrong"},
        {"authorization": keys[0]["authorization"] + "x"},
    ]  # fmt: skip

    assert len(calls) > 20
    for call in calls:
        method, path = call.split()
        for headers in strangers:
            answer = client.request(method, path, headers=headers)
            assert (call in PUBLIC) == (answer.status_code != 401), (call, answer.status_code)
            if call not in PUBLIC:
                assert NOBODY == answer.json()
        assert 401 != client.request(method, path, headers=keys[0]).status_code, call


def test_a_foreign_job_does_not_exist(client, services, keys):
    """Same status and body as an unknown id, or ids could be tried out."""
    one, two = keys
    id = client.post(f"/queue/{T2V}", json={"prompt": "a"}, headers=one).json()["request_id"]

    for method, end in [("GET", "/status"), ("GET", ""), ("PUT", "/cancel"), ("GET", "/response"),
                        ("GET", "/status/stream"), ("GET", "/preview")]:  # fmt: skip
        foreign = client.request(method, f"/queue/a/b/requests/{id}{end}", headers=two)
        unknown = client.request(method, f"/queue/a/b/requests/{'0' * 36}{end}", headers=two)
        assert 404 == foreign.status_code
        assert unknown.content == foreign.content
    assert 202 == client.get(f"/queue/a/b/requests/{id}/status", headers=one).status_code


def test_what_was_submitted_before_the_first_key_stays_in_reach(client, services, submit):
    """Making a key must not lose the jobs that are running."""
    id = submit()["request_id"]
    key, secret = services.keys.create("studio")
    url = f"/queue/fal-ai/wan/requests/{id}/status"

    assert 401 == client.get(url).status_code
    headers = {"authorization": f"Key {key}:{secret}"}
    assert 202 == client.get(url, headers=headers).status_code


def test_a_revoked_key_is_nobody_at_once(client, services, keys):
    """And so is the upload pass that was issued to it."""
    token = client.post("/rest/storage/auth/token", headers=keys[0]).json()["token"]
    bearer = {"authorization": f"Bearer {token}"}

    assert 200 == client.post("/cdn/files/upload", content=b"x", headers=bearer).status_code
    services.keys.revoke(keys[0]["authorization"].split()[1].split(":")[0])

    assert 401 == client.post("/cdn/files/upload", content=b"x", headers=bearer).status_code
    assert 401 == client.get("/models", headers=keys[0]).status_code


def test_a_pass_opens_nothing_but_uploads(client, services, keys):
    """It travels to the CDN host and through more hands than the key."""
    token = client.post("/rest/storage/auth/token", headers=keys[0]).json()["token"]

    answer = client.post(
        f"/queue/{T2V}", json={"prompt": "a"}, headers={"authorization": f"Bearer {token}"}
    )
    assert 401 == answer.status_code


def test_a_pass_from_before_the_first_key_ends_with_it(client, services):
    """It was issued to anybody."""
    token = client.post("/rest/storage/auth/token").json()["token"]
    services.keys.create("studio")
    bearer = {"authorization": f"Bearer {token}"}

    assert 401 == client.post("/cdn/files/upload", content=b"x", headers=bearer).status_code


@pytest.mark.parametrize("header", [None, "Key anything:at-all", "Bearer x", "Basic x", "?"])
def test_without_keys_any_credential_will_do(client, header):
    """Fal's clients refuse to start without one, so people make one up."""
    headers = {"authorization": header} if header else {}
    answer = client.post(f"/queue/{T2V}", json={"prompt": "a"}, headers=headers)

    assert 200 == answer.status_code


def test_an_open_address_without_keys_lets_nobody_in(settings):
    """Revoking the last key of a server on the network must not open it to everybody."""
    services = open_services(settings.model_copy(update={"host": "0.0.0.0"}))
    with TestClient(create_app(services), base_url="http://box.lan:8900") as client:
        answers = [client.get("/models"), client.get("/health")]
    services.close()

    assert [401, 200] == [answer.status_code for answer in answers]


@pytest.mark.parametrize(
    "call", ["POST /cdn/files/upload", "DELETE /cdn/files/t/n", "GET /queue/health", "GET /healthy"]
)
def test_public_is_what_is_listed_and_no_more(call):
    """A prefix or another method makes it something else."""
    assert not is_public(*call.split())
