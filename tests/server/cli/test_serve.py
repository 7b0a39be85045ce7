import signal
import subprocess
import sys
import time

import httpx
import pytest
from typer.testing import CliRunner

from server.certificates import make_certificates
from server.cli import app
from server.cli.serve import greeting
from server.settings import Settings
from tests.contract.sync_client import ENDPOINT, LONG, TINY
from tests.running_server import ROOT, running_server


def serve(*flags):
    return CliRunner().invoke(app, ["serve", "--device", "cpu", *flags])


def test_a_public_address_without_a_key_is_refused(tmp_path):
    """Anybody on the network could spend the GPU; the way out is in the message."""
    result = serve("--host", "0.0.0.0", "--data-dir", str(tmp_path))

    assert 2 == result.exit_code
    assert f"wan-local keys create --data-dir {tmp_path}" in result.stderr


def test_a_port_in_use_is_refused(tmp_path, weights):
    """Half of the requests would go to the other program, without a word."""
    with running_server(tmp_path / "first", weights, tls=False) as server:
        result = serve("--port", str(server.port), "--data-dir", str(tmp_path / "second"))

    assert 2 == result.exit_code
    assert "Address already in use" in result.stderr


def test_data_in_use_is_refused(tmp_path, weights):
    """A forgotten server in another terminal is the usual reason."""
    with running_server(tmp_path, weights, tls=False):
        result = serve("--port", "0", "--data-dir", str(tmp_path))

    assert 2 == result.exit_code
    assert f"another server is running on {tmp_path}" in result.stderr


def test_the_greeting_says_what_to_copy(tmp_path):
    """Most people will read these lines and no other documentation."""
    settings = Settings(data_dir=tmp_path, weights_dir=tmp_path)
    without_tls = "\n".join(greeting(settings, [8900], None))
    certificates = make_certificates(tmp_path / "tls")
    with_tls = "\n".join(greeting(settings, [8900, 8943], certificates))

    assert "http://127.0.0.1:8900" in without_tls
    assert "wan-local tls" in without_tls
    assert "export FAL_QUEUE_RUN_HOST=127.0.0.1:8943/queue" in with_tls
    assert f"export SSL_CERT_FILE={certificates.authority}" in with_tls
    assert ENDPOINT in with_tls
    assert "hf download" in with_tls


def test_the_greeting_says_when_the_checkpoint_is_a_stand_in(tmp_path, weights):
    """Nobody should wonder why Wan 2.2 draws noise."""
    settings = Settings(data_dir=tmp_path, weights_dir=weights)

    assert "(random weights)" in "\n".join(greeting(settings, [8900], None))


def test_sigterm_lets_the_running_job_end_and_keeps_the_waiting_one(tmp_path, weights):
    """A restart for an update costs nobody their video."""
    with running_server(tmp_path, weights, tls=False) as server:
        running, waiting = submit(server, TINY), submit(server, LONG)
        wait_for(server, running, "IN_PROGRESS")
    # The server has ended with 0 here: running_server sees to that.
    with running_server(tmp_path, weights, tls=False) as server:
        assert "COMPLETED" == status(server, running)["status"]
        assert 200 == result(server, running).status_code
        assert status(server, waiting)["status"] in {"IN_QUEUE", "IN_PROGRESS"}
        httpx.put(f"{server.url}/queue/{ENDPOINT}/requests/{waiting}/cancel")


def test_a_second_signal_ends_it_at_once(tmp_path, weights):
    """Whoever presses Ctrl-C twice does not want to wait for a video."""
    command = [sys.executable, "-m", "server.cli", "serve", "--device", "cpu", "--port", "0"]
    ready = tmp_path / "ready.json"
    flags = ["--data-dir", tmp_path, "--weights-dir", weights, "--ready-file", ready]
    process = subprocess.Popen(
        [*command, *flags], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with process:
        while not ready.exists():
            time.sleep(0.05)
        port = httpx.URL(process.stdout.readline().split()[-1]).port
        submit_to = f"http://127.0.0.1:{port}/queue/{ENDPOINT}"
        job = httpx.post(submit_to, json=LONG).json()
        while "IN_PROGRESS" != httpx.get(job["status_url"]).json()["status"]:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        for line in process.stdout:
            if "stopping" in line:
                break
        process.send_signal(signal.SIGINT)

    assert 1 == process.returncode
    end_orphans(tmp_path, weights)


@pytest.mark.parametrize("name", ["WAN_LOCAL_PORT", "WAN_LOCAL_RETENTION_DAYS"])
def test_a_bad_variable_in_the_environment_is_named(monkeypatch, name, tmp_path):
    """The operator set it weeks ago in a unit file."""
    monkeypatch.setenv(name, "-5")
    result = serve("--data-dir", str(tmp_path))

    assert 2 == result.exit_code
    assert name.removeprefix("WAN_LOCAL_").lower() in result.stderr


def submit(server, body):
    return httpx.post(f"{server.url}/queue/{ENDPOINT}", json=body).json()["request_id"]


def status(server, id):
    return httpx.get(f"{server.url}/queue/{ENDPOINT}/requests/{id}/status").json()


def result(server, id):
    return httpx.get(f"{server.url}/queue/{ENDPOINT}/requests/{id}")


def wait_for(server, id, state):
    while status(server, id)["status"] != state:
        time.sleep(0.05)


def end_orphans(data_dir, weights):
    """Start and stop a server, which adopts the GPU process that was left behind and ends it."""
    with running_server(data_dir, weights, tls=False, WAN_LOCAL_DRAIN_TIMEOUT="0"):
        pass
