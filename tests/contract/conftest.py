"""One real server for all clients: `wan-local serve` on the small checkpoint, with TLS."""

from __future__ import annotations

import ssl
import urllib.request

import pytest

from tests.running_server import running_server


@pytest.fixture(scope="package")
def server(weights, tmp_path_factory):
    """The running server, gone when the last test of this folder is."""
    with running_server(tmp_path_factory.mktemp("contract") / "data", weights) as running:
        yield running


@pytest.fixture
def download(server):
    """Fetch a URL as a browser would, without a key; returns the bytes."""
    trust = ssl.create_default_context(cafile=server.ca)

    def download(url):
        with urllib.request.urlopen(url, context=trust) as answer:
            assert "video/mp4" == answer.headers["content-type"]
            return answer.read()

    return download
