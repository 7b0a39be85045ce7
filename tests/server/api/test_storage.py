"""Uploads in all five flows, exactly as the clients make the calls, and downloads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from server.app import create_app
from server.services import open_services

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20
REST, CDN = "/rest/storage", "/cdn"


def fetch(client, url, **headers):
    return client.get(url, headers={name.replace("_", "-"): v for name, v in headers.items()})


def test_python_sends_a_small_file(client):
    """Token, then one POST to the CDN; the date must be readable by Python 3.10."""
    token = client.post(f"{REST}/auth/token?storage_type=fal-cdn-v3", json={}).json()
    answer = client.post(
        f"{CDN}/files/upload",
        content=PNG,
        headers={
            "authorization": f"{token['token_type']} {token['token']}",
            "content-type": "text/plain",
            "x-fal-file-name": "h.png",
        },
    )

    assert "http://localhost:8900/cdn" == token["base_url"]
    assert token["expires_at"].endswith("+00:00")
    assert datetime.fromisoformat(token["expires_at"]) > datetime.now(UTC) + timedelta(minutes=5)
    assert PNG == client.get(answer.json()["access_url"]).content
    assert answer.json()["access_url"].endswith("/h.png")


def test_python_sends_a_large_file_in_parts(client):
    """Up to ten at once, listed in the order in which they finished."""
    created = client.post(
        f"{CDN}/files/upload/multipart", headers={"x-fal-file-name": "a.png"}
    ).json()
    url, id = created["access_url"], created["uploadId"]
    parts = {3: PNG[4000:], 1: PNG[:2000], 2: PNG[2000:4000]}
    etags = {
        n: client.put(f"{url}/multipart/{id}/{n}", content=content).headers["etag"]
        for n, content in parts.items()
    }
    listed = [{"partNumber": n, "etag": etag} for n, etag in etags.items()]
    done = client.post(f"{url}/multipart/{id}/complete", json={"parts": listed})

    assert 200 == done.status_code
    assert 3 == len(set(etags.values()))
    assert PNG == client.get(url).content


@pytest.mark.parametrize("query", ["?storage_type=gcs", "?storage_type=fal-cdn-v3", ""])
def test_a_file_is_announced_and_put(client, query):
    """Python's fallback, JavaScript and Swift; JavaScript's PUT carries no key at all."""
    announced = client.post(
        f"{REST}/upload/initiate{query}", json={"content_type": "image/png", "file_name": "c.png"}
    ).json()

    assert 404 == client.get(announced["file_url"]).status_code
    put = client.put(announced["upload_url"], content=PNG, headers={"content-type": "image/png"})
    assert 200 == put.status_code
    assert PNG == client.get(announced["file_url"]).content


def test_javascript_sends_a_large_file_in_parts(client):
    """Parts without a content type; number and etag are read from each answer's JSON.

    Whatever query the upload URL has is kept at the end of the longer path.
    """
    announced = client.post(
        f"{REST}/upload/initiate-multipart?storage_type=fal-cdn-v3",
        json={"content_type": "video/mp4", "file_name": "1795405248732.mp4"},
    ).json()
    url = announced["upload_url"]
    parts = [client.put(f"{url}/{n}?sig=abc", content=PNG[n - 1 :: 2]).json() for n in (1, 2)]
    done = client.post(f"{url}/complete?sig=abc", json={"parts": parts})

    assert [1, 2] == [part["partNumber"] for part in parts]
    assert all(part["etag"] for part in parts)
    assert 200 == done.status_code
    assert PNG[::2] + PNG[1::2] == client.get(announced["file_url"]).content


def test_the_oldest_clients_post_with_their_key(client):
    """fal_client up to 0.5.3, to the host fal.media."""
    answer = client.post(
        "/files/upload", content=PNG, headers={"host": "fal.media", "authorization": "Key a:b"}
    )

    assert answer.json()["access_url"].startswith("http://fal.media/cdn/files/")


def test_an_upload_that_was_answered_unheard_may_be_repeated(client):
    """Clients repeat calls whose answer was lost; the file stays what it was."""
    announced = client.post(f"{REST}/upload/initiate", json={"file_name": "c.png"}).json()
    answers = [client.put(announced["upload_url"], content=body) for body in (PNG, b"other")]

    assert [200, 200] == [answer.status_code for answer in answers]
    assert PNG == client.get(announced["file_url"]).content


def test_a_file_without_a_name_gets_one(client):
    """fal_client's upload_image sends none."""
    url = client.post(
        f"{CDN}/files/upload", content=PNG, headers={"content-type": "image/png"}
    ).json()["access_url"]

    assert url.endswith("/file.png")


def test_a_lifetime_is_kept(client, services):
    """`X-Fal-Object-Lifecycle` on uploads."""
    url = client.post(
        f"{CDN}/files/upload",
        content=PNG,
        headers={"x-fal-object-lifecycle": '{"expiration_duration_seconds":60}'},
    ).json()["access_url"]
    stored = services.artifacts.find(url.split("/")[-2])

    assert 60 == pytest.approx(stored.expires_at - stored.created_at)


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("PUT", f"{CDN}/put/{'a' * 32}/x.png", {"content": b"x"}, 404),
        ("PUT", f"{CDN}/put/../x.png", {"content": b"x"}, 404),
        ("PUT", f"{CDN}/files/t/n/multipart/{'a' * 32}/1", {"content": b"x"}, 404),
        ("POST", f"{CDN}/files/t/n/multipart/{'a' * 32}/complete", {"json": {"parts": []}}, 404),
        ("POST", f"{REST}/upload/initiate", {"content": b"{"}, 422),
        ("POST", f"{REST}/upload/initiate", {"json": {"file_name": 7}}, 422),
        ("POST", f"{CDN}/files/upload", {"headers": {"x-fal-object-lifecycle": "1h"}}, 400),
        ("GET", f"{CDN}/files/{'a' * 32}/x.png", {}, 404),
        ("POST", "/rest/tokens/", {"json": {}}, 404),
    ],
)
def test_a_wrong_call_is_the_clients_mistake(client, method, path, options, status):
    """4xx each, and JSON."""
    answer = client.request(method, path, **options)

    assert status == answer.status_code
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"parts": []}, 400),
        ({"parts": [{"partNumber": 1, "etag": "x"}, {"partNumber": 2, "etag": "x"}]}, 400),
        ({"parts": [{"partNumber": "one"}]}, 422),
        ({}, 422),
    ],
)
def test_an_incomplete_upload_cannot_be_completed(client, body, status):
    """Rather an error now than a video with a hole."""
    url = client.post(f"{REST}/upload/initiate-multipart", json={}).json()["upload_url"]
    client.put(f"{url}/1", content=b"x")

    assert status == client.post(f"{url}/complete", json=body).status_code
    assert 400 == client.put(f"{url}/0", content=b"x").status_code


def test_a_file_past_the_limit_is_refused_and_leaves_nothing(tmp_path, settings):
    """With a declared length at once, without one as soon as it shows."""
    small = settings.model_copy(update={"max_upload_bytes": 2048})
    services = open_services(small)
    with TestClient(create_app(services), base_url="http://localhost") as client:
        declared = client.post(f"{CDN}/files/upload", content=b"x" * 4096)
        streamed = client.post(f"{CDN}/files/upload", content=iter([b"x" * 1024] * 4))
        fits = client.post(f"{CDN}/files/upload", content=b"x" * 2048)
    services.close()

    assert [413, 413, 200] == [answer.status_code for answer in (declared, streamed, fits)]
    blobs = [path for path in (tmp_path / "data/files/blobs").rglob("*") if path.is_file()]
    assert [2048] == [path.stat().st_size for path in blobs]
    assert not list((tmp_path / "data/files/uploads").rglob("incoming-*"))


@pytest.fixture
def url(client):
    """URL of a stored picture."""
    return client.post(
        f"{CDN}/files/upload", content=PNG, headers={"x-fal-file-name": "c.png"}
    ).json()["access_url"]


def test_a_download_is_safe_to_open(client, url):
    """Whatever was uploaded, nothing runs in the server's origin."""
    answer = client.get(url)

    assert "image/png" == answer.headers["content-type"]
    assert "nosniff" == answer.headers["x-content-type-options"]
    assert 'inline; filename="c.png"' == answer.headers["content-disposition"]


def test_a_web_page_is_saved_and_not_shown(client):
    """An uploaded page would read whatever the API shows to this origin."""
    page = client.post(
        f"{CDN}/files/upload",
        content=b"<script>steal()</script>",
        headers={"x-fal-file-name": "a.html", "content-type": "text/html"},
    ).json()["access_url"]
    headers = client.get(page).headers

    assert "application/octet-stream" == headers["content-type"]
    assert headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("range", "expected"),
    [
        ("bytes=0-9", PNG[:10]),
        ("bytes=100-", PNG[100:]),
        ("bytes=-7", PNG[-7:]),
        ("bytes=5000-999999", PNG[5000:]),
    ],
)
def test_a_range_is_served(client, url, range, expected):
    """`<video>` seeks with ranges; Safari plays nothing without them."""
    answer = fetch(client, url, range=range)

    assert 206 == answer.status_code
    assert expected == answer.content
    start = PNG.rindex(expected)
    assert (
        f"bytes {start}-{start + len(expected) - 1}/{len(PNG)}" == answer.headers["content-range"]
    )


def test_a_range_past_the_end_is_refused(client, url):
    """416 with the true size, so that the player can correct itself."""
    answer = fetch(client, url, range="bytes=99999-")

    assert (416, f"bytes */{len(PNG)}") == (answer.status_code, answer.headers["content-range"])


def test_a_range_of_another_version_is_the_whole_file(client, url):
    """If-Range: a download is only continued if the file is still the same."""
    etag = client.get(url).headers["etag"]

    assert 206 == fetch(client, url, range="bytes=0-9", if_range=etag).status_code
    assert 200 == fetch(client, url, range="bytes=0-9", if_range='"other"').status_code


def test_a_known_file_is_not_sent_again(client, url):
    """304: a gallery page asks for each of its videos."""
    etag = client.get(url).headers["etag"]

    assert (304, b"") == (
        fetch(client, url, if_none_match=etag).status_code,
        fetch(client, url, if_none_match=etag).content,
    )


def test_head_tells_the_size(client, url):
    """Players and download managers ask first."""
    answer = client.head(url)

    assert (200, str(len(PNG)), b"") == (
        answer.status_code,
        answer.headers["content-length"],
        answer.content,
    )
    assert "bytes" == answer.headers["accept-ranges"]
