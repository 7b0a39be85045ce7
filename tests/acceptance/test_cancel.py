"""A cancel in the second half of a job: while it is decoded, interpolated, encoded.

Steps of denoising are many and each listens; these are the stretches in which a generator that
yields too seldom, or a child that nobody kills, would show.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.contract.sync_client import ENDPOINT
from tests.running_server import running_server
from tests.server.dispatch.conftest import wait_until
from tests.shared_data import shared

LONG = {
    "prompt": "a cat",
    "resolution": "720p",
    "num_frames": 161,
    "num_inference_steps": 2,
    "interpolator_model": "none",
}
WITHIN = 1.0
"""Seconds from the cancel to the job's end, as promised."""
SLACK = 10.0
"""How much longer a machine may take that is busy with other things."""


@pytest.fixture(scope="module")
def server(weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cancels") / "data"
    with running_server(folder, weights, tls=False) as server:
        yield server


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


def submit(client, **changes):
    answer = client.post(f"/queue/{ENDPOINT}", json=LONG | changes)
    return answer.raise_for_status().json()


def log_of(client, job):
    status = client.get(job["status_url"], params={"logs": "1"}).json()
    assert status["status"] != "COMPLETED", status
    return [line["message"] for line in status["logs"]]


def until_said(client, job, words):
    """Wait until a line of the job's log begins with *words*."""
    wait_until(lambda: any(line.startswith(words) for line in log_of(client, job)), 120)


def offspring(pid):
    """Return the processes below *pid*: process id -> command line."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # a thread, or a child, may end while we look
            for child in (task / "children").read_text().split():
                found[int(child)] = Path(f"/proc/{child}/cmdline").read_bytes().decode()
                found |= offspring(child)
    return found


def encoders(server):
    return [pid for pid, command in offspring(server.pid).items() if "ffmpeg" in command]


def frozen(pid):
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "T"


def stuck(lines):
    """Return whether the last two lines are of decoding, and the same."""
    return lines[-1].startswith("decode ") and lines[-1] == lines[-2]


def cancel(client, job):
    """Cancel the job, wait for its end, and return the seconds that took."""
    began = time.monotonic()
    assert 202 == client.put(job["cancel_url"]).status_code
    wait_until(
        lambda: client.get(job["status_url"]).json()["status"] == "COMPLETED", WITHIN + SLACK
    )
    took = time.monotonic() - began
    assert 499 == client.get(job["response_url"]).status_code
    return took


def assert_nothing_is_left(server, client):
    """No process, no file; and the slot takes the next job."""
    wait_until(lambda: [] == encoders(server))
    wait_until(lambda: [] == list((server.folder / "outputs").iterdir()))
    small = submit(client, num_frames=17, resolution="480p")
    wait_until(lambda: client.get(small["status_url"]).json()["status"] == "COMPLETED", 120)
    assert 200 == client.get(small["response_url"]).status_code


def test_a_cancel_while_frames_are_decoded(server, client):
    """A long video's decoding takes minutes, and nobody wants to wait for what he has cancelled."""
    job = submit(client)
    until_said(client, job, "decode ")
    took = cancel(client, job)

    print(f"cancelled in decode: gone after {took:.2f} s")
    assert_nothing_is_left(server, client)


@pytest.fixture
def rife(server, weights):
    """Put a small RIFE where the server looks for one."""
    source = shared("data/weights/mini_rife_fp16.safetensors")
    folder = weights / "interpolation" / "rife"
    folder.mkdir(parents=True)
    (folder / "rife.safetensors").symlink_to(source)
    yield
    shutil.rmtree(weights / "interpolation")


def test_a_cancel_while_frames_are_interpolated(server, client, rife):
    """Four new frames for each pair are most of the work, and of the wait."""
    job = submit(client, interpolator_model="rife", num_interpolated_frames=4)
    wait_until(lambda: any(line.endswith("/801") for line in log_of(client, job)), 120)
    took = cancel(client, job)

    print(f"cancelled in interpolation: gone after {took:.2f} s")
    assert_nothing_is_left(server, client)


def test_a_cancel_while_ffmpeg_is_behind(server, client):
    """The frames are out, or wait in line: the encoder that has stopped must not be waited for."""
    job = submit(client, resolution="480p")
    encoder = wait_until(lambda: encoders(server), 120)[0]
    os.kill(encoder, signal.SIGSTOP)
    wait_until(lambda: frozen(encoder))
    # The pipe and the belt fill up; then the engine says the same again and again.
    wait_until(lambda: stuck(log_of(client, job)), 120)
    took = cancel(client, job)

    print(f"cancelled in encode: gone after {took:.2f} s")
    assert_nothing_is_left(server, client)
