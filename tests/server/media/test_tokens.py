"""Tokens go to the sites they are for, and to no other."""

from __future__ import annotations

import http.server
import logging
import ssl
import threading

import httpcore
import pytest

from server.certificates import make_certificates
from server.media.artifacts import Artifacts
from server.media.fetch import Fetcher
from server.media.inputs import Inputs
from server.media.tokens import Tokens
from server.settings import Settings

SECRET = "hf_sesame"


@pytest.mark.parametrize(
    ("url", "token"),
    [
        ("https://huggingface.co/a/b/resolve/main/c.safetensors", "hf_sesame"),
        ("https://huggingface.co:443/a", "hf_sesame"),
        ("https://civitai.com/api/download/models/1", "civ_sesame"),
        ("http://huggingface.co/a", None),
        ("http://huggingface.co:443/a", None),
        ("https://huggingface.co:8443/a", None),
        ("https://huggingface.co.example.com/a", None),
        ("https://cdn.huggingface.co/a", None),
        ("https://example.com/huggingface.co", None),
        ("https://civitai.com.example.com/", None),
    ],
)
def test_a_token_is_for_one_origin(url, token):
    """Scheme, host and port: all that merely looks like it is somebody else."""
    tokens = Tokens.of(Settings(hub_token="hf_sesame", civitai_token="civ_sesame"))
    expected = [("Authorization", f"Bearer {token}")] if token else []

    assert expected == tokens.headers(httpcore.URL(url).origin)


def test_without_a_setting_nothing_is_sent():
    """Most files need none."""
    tokens = Tokens.of(Settings())

    assert [] == tokens.headers(httpcore.URL("https://huggingface.co/a").origin)


class Page(http.server.BaseHTTPRequestHandler):
    """Sends one away to whatever its path says, or gives a file."""

    def do_GET(self):
        self.server.asked.append((self.headers["Host"], self.headers["Authorization"]))
        assert self.headers["User-Agent"]  # without one, Civitai refuses
        target = self.path.removeprefix("/to/")
        body = b"" if target != self.path else b"file"
        self.send_response(200 if body else 302)
        if not body:
            self.send_header("location", target)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Keep the tests' output clean."""


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A web server over TLS that has two names."""
    certificates = make_certificates(tmp_path / "tls", ["hub.test", "cdn.test"])
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as site:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificates.certificate, certificates.key)
        site.socket = tls.wrap_socket(site.socket, server_side=True)
        site.asked = []
        thread = threading.Thread(target=site.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield site
        site.shutdown()
        thread.join()


@pytest.fixture
def fetch(site, tmp_path):
    port = site.server_port
    fetcher = Fetcher(
        Inputs(tmp_path / "inputs"),
        Artifacts(tmp_path / "files"),
        Settings(fetch_allow=(f"127.0.0.1:{port}",)),
        resolve=lambda _host, _port: ["127.0.0.1"],
        tokens=Tokens({f"https://hub.test:{port}": Settings(hub_token=SECRET).hub_token}),
    )

    def get(path, **options):
        site.asked.clear()
        fetcher.fetch(f"https://hub.test:{port}{path}", 100, **options)
        return [token and token.removeprefix("Bearer ") for _, token in site.asked]

    return get


def test_a_token_goes_to_its_site_and_not_where_that_sends_us(fetch, site):
    """Hugging Face and Civitai redirect to storage elsewhere, which must not see it.

    Nor does it come back with a redirect home: by then somebody else says where it goes.
    """
    hub, cdn = (f"https://{name}.test:{site.server_port}" for name in ("hub", "cdn"))

    assert [SECRET] == fetch("/file", with_tokens=True)
    assert [SECRET, SECRET] == fetch("/to//file", with_tokens=True)
    assert [SECRET, None] == fetch(f"/to/{cdn}/file", with_tokens=True)
    assert [SECRET, None, None] == fetch(f"/to/{cdn}/to/{hub}/file", with_tokens=True)


def test_a_picture_is_fetched_without(fetch):
    """Else whoever may submit requests would see the operator's private repositories."""
    assert [None] == fetch("/file")


def test_a_token_is_in_no_line_and_in_no_representation(fetch, caplog):
    """Not even where everything is logged."""
    caplog.set_level(logging.DEBUG)
    fetch("/file", with_tokens=True)

    assert SECRET not in caplog.text
    assert SECRET not in repr(Settings(hub_token=SECRET))
