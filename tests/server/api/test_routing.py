"""Every spelling of a URL leads to one path, and answers speak the caller's language."""

from __future__ import annotations

import pytest

from server.api.errors import Refused
from server.api.routing import (
    Destination,
    base_url,
    find_destination,
    find_target,
    hostname,
    service_of,
)
from server.settings import Settings

EP = "fal-ai/wan/v2.2-a14b/text-to-video"


@pytest.mark.parametrize(
    ("host", "path", "leads_to", "prefix"),
    [
        ("localhost:8900", f"/queue/{EP}", f"/queue/{EP}", "/queue"),
        ("localhost:8900", f"/run/{EP}", f"/run/{EP}", "/run"),
        ("localhost:8900", f"/{EP}", f"/queue/{EP}", ""),
        ("localhost:8900", "/Fal-AI/x", "/queue/Fal-AI/x", ""),
        ("localhost:8900", "/workflows/me/x", "/queue/workflows/me/x", ""),
        ("localhost:8900", "/health", "/health", ""),
        ("localhost:8900", "/", "/", ""),
        ("localhost:8900", "/queue/x/requests/1/status/", "/queue/x/requests/1/status", "/queue"),
        ("queue.fal.run", f"/{EP}", f"/queue/{EP}", ""),
        ("queue.falrun.com", f"/{EP}", f"/queue/{EP}", ""),
        ("fal.run", f"/{EP}", f"/run/{EP}", ""),
        ("rest.fal.ai", "/storage/upload/initiate", "/rest/storage/upload/initiate", ""),
        ("rest.alpha.fal.ai", "/tokens/", "/rest/tokens", ""),
        ("v3.fal.media", "/files/upload", "/cdn/files/upload", ""),
        ("fal.media", "/files/upload", "/cdn/files/upload", ""),
        ("v3.fal.media", "/cdn/files/t/a.mp4", "/cdn/files/t/a.mp4", "/cdn"),
        ("queue.box.lan:8943", f"/{EP}", f"/queue/{EP}", ""),
        ("QUEUE.localhost", f"/{EP}", f"/queue/{EP}", ""),
        ("run.box.lan", f"/{EP}", f"/run/{EP}", ""),
        ("queue.box.lan", f"/queue/{EP}", f"/queue/{EP}", "/queue"),
    ],
)
def test_where_a_path_leads(host, path, leads_to, prefix):
    """A path prefix, fal's own host names, a name of one's own, or fal's bare paths."""
    assert Destination(leads_to, prefix) == find_destination(path, host)


@pytest.mark.parametrize(
    ("url", "path", "query", "queue"),
    [
        (f"https://queue.fal.run/{EP}?fal_webhook=http%3A%2F%2Fh%2F%3Fx%3D1", f"/queue/{EP}",
         b"fal_webhook=http%3A%2F%2Fh%2F%3Fx%3D1", "https://queue.fal.run"),
        ("https://queue.fal.run/fal-ai/wan/requests/1/status?logs=1",
         "/queue/fal-ai/wan/requests/1/status", b"logs=1", "https://queue.fal.run"),
        (f"https://fal.run/{EP}", f"/run/{EP}", b"", "https://queue.fal.run"),
        ("https://rest.fal.ai/storage/upload/initiate?storage_type=fal-cdn-v3",
         "/rest/storage/upload/initiate", b"storage_type=fal-cdn-v3", "https://queue.fal.run"),
        ("https://queue.falrun.com/x%20y", "/queue/x y", b"", "https://queue.falrun.com"),
    ],
)  # fmt: skip
def test_a_proxied_call_is_answered_here(url, path, query, queue):
    """JavaScript, Swift, Java and Kotlin put fal's URL in a header, and check ours against it."""
    target = find_target(url)

    assert (path, query, queue) == (target.destination.path, target.query, target.queue)


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "https://example.com/", "https://queue.fal.run.evil.com/x", "file:///etc/passwd",
        "ftp://queue.fal.run/", "https://[queue.fal.run/x", "http://169.254.169.254/latest/",
        "https://queue.fal.run@evil.com/x", "//queue.fal.run/x",
    ],
)  # fmt: skip
def test_no_other_target_is_served(url):
    """An open proxy would be a way into the network of whoever runs this."""
    with pytest.raises(Refused) as refused:
        find_target(url)

    assert (400, {"detail": "Invalid request"}) == (refused.value.status, refused.value.body)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"), ("LocalHost:80", "localhost"), ("[::1]:8900", "::1"),
        ("127.0.0.1:1", "127.0.0.1"), ("box.lan.", "box.lan"), ("", ""), ("[::1", "::1"),
    ],
)  # fmt: skip
def test_the_name_in_a_host_header(host, name):
    """With a port, in brackets, with a final dot."""
    assert name == hostname(host)


def test_an_address_is_no_service():
    """`127.0.0.1` has dots too, and a bare `queue` is a machine's name."""
    assert service_of("127.0.0.1") is None
    assert service_of("queue") is None
    assert "queue" == service_of("queue.a.b")


def scope(scheme="http", **headers):
    raw = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    return {"scheme": scheme, "headers": raw}


def test_urls_are_those_the_client_used():
    """It reached us there once, so it will again."""
    assert "https://box.lan:8943" == base_url(scope("https", host="box.lan:8943"), Settings())


def test_forwarded_headers_are_believed_only_when_told_to():
    """Anyone can send them."""
    forwarded = scope(host="a", x_forwarded_proto="https, http", x_forwarded_host="b.example")

    assert "http://a" == base_url(forwarded, Settings())
    assert "https://b.example" == base_url(forwarded, Settings(trust_forwarded=True))


def test_a_public_url_wins():
    """The operator knows best."""
    settings = Settings(public_url="https://wan.example/")

    assert "https://wan.example" == base_url(scope(host="a"), settings)


@pytest.mark.parametrize(
    ("host", "path", "queue"),
    [
        ("localhost:8900", f"/queue/{EP}", "http://localhost:8900/queue"),
        ("localhost:8900", f"/{EP}", "http://localhost:8900"),
        ("queue.localhost:8900", f"/{EP}", "http://queue.localhost:8900"),
    ],
)
def test_returned_urls_keep_the_spelling(client, host, path, queue):
    """Python follows them letter by letter; the last part must not be `/response`."""
    body = client.post(path, json={"prompt": "a"}, headers={"host": host}).json()

    assert f"{queue}/fal-ai/wan/requests/{body['request_id']}" == body["response_url"]
    assert f"{body['response_url']}/status" == body["status_url"]
    assert 202 == client.get(body["status_url"]).status_code


@pytest.mark.parametrize("route", ["/fal/proxy", "/api/fal/proxy", "/fal/proxy/"])
def test_the_whole_queue_through_the_proxy(client, hand, route):
    """GET, POST and PUT at one route; files come from the server itself and need no proxy."""

    def call(method, target, **options):
        return client.request(method, route, headers={"X-Fal-Target-Url": target}, **options)

    submitted = call("POST", f"https://queue.fal.run/{EP}", json={"prompt": "a"}).json()
    url = submitted["response_url"]
    assert f"https://queue.fal.run/fal-ai/wan/requests/{submitted['request_id']}" == url
    assert 202 == call("GET", f"{url}/status?logs=1").status_code
    hand.finish(hand.start())

    assert "http://localhost:8900/cdn/files/token/a.mp4" == call("GET", url).json()["video"]["url"]
    assert 400 == call("PUT", f"{url}/cancel").status_code
    announced = call("POST", "https://rest.fal.ai/storage/upload/initiate", json={}).json()
    assert announced["upload_url"].startswith("http://localhost:8900/cdn/put/")
    assert 400 == client.get(route).status_code
