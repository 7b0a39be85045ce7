"""Curl: what is left when one takes every client away."""

from __future__ import annotations

import json
import shutil
import subprocess
import time

import pytest

from tests.contract.sync_client import ENDPOINT, TINY
from tests.watching import assert_moving_pictures, watch

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")


def curl(*arguments, **how):
    return subprocess.run(
        ["curl", "-sS", "--fail-with-body", *arguments], capture_output=True, **how
    )


def test_submit_poll_and_fetch(server, tmp_path):
    """The three commands that a bug report is written with."""
    body = ["-H", "content-type: application/json", "-d", json.dumps(TINY)]
    submitted = json.loads(curl(f"{server.url}/queue/{ENDPOINT}", *body, check=True).stdout)
    while "COMPLETED" != json.loads(curl(submitted["status_url"], check=True).stdout)["status"]:
        time.sleep(0.1)
    result = json.loads(curl(submitted["response_url"], check=True).stdout)
    curl("-o", tmp_path / "out.mp4", result["video"]["url"], check=True)

    assert (tmp_path / "out.mp4").stat().st_size == result["video"]["file_size"]
    assert_moving_pictures(watch(tmp_path / "out.mp4"), 17)


def test_a_player_can_seek(server, tmp_path):
    """A browser's video element asks for ranges, and shows nothing if it gets no 206."""
    body = ["-H", "content-type: application/json", "-d", json.dumps(TINY)]
    result = json.loads(curl(f"{server.url}/run/{ENDPOINT}", *body, check=True).stdout)
    whole = curl(result["video"]["url"], check=True).stdout
    part = curl("-D", "-", "-r", "100-199", result["video"]["url"], check=True).stdout

    head, _, content = part.partition(b"\r\n\r\n")
    assert b" 206 " in head.splitlines()[0] + b" "
    assert whole[100:200] == content


def test_https_is_trusted_with_the_printed_authority(server):
    """`--cacert` is to curl what SSL_CERT_FILE is to Python."""
    url = f"https://127.0.0.1:{server.tls_port}/health"

    assert 0 == curl("--cacert", server.ca, url).returncode
    assert 0 != curl(url).returncode
