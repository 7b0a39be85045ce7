"""The GPU process from outside: its command line, its orders, its ends."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys

import pytest

from server.dispatch.gpu_process import broken_for_good, open_engine
from server.dispatch.lines import connect
from server.dispatch.slot import (
    FROM_SLOT,
    Alive,
    Cancel,
    Cancelled,
    Done,
    Errand,
    Failed,
    Hello,
    Quit,
    Run,
    Said,
)
from server.endpoints import ENDPOINTS
from tests.server.dispatch.conftest import FAKE, wait_until
from tests.server.dispatch.fake_engine import FakeEngine


@pytest.fixture
def outputs(tmp_path):
    folder = tmp_path / "outputs"
    folder.mkdir()
    return folder


@pytest.fixture
def process(tmp_path):
    command = [sys.executable, "-m", "server.dispatch.gpu_process"]
    command += ["--socket", tmp_path / "gpu0.sock", "--name", "gpu0", "--device", "cpu"]
    command += ["--weights", tmp_path, "--grace", "1", "--engine", FAKE]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.fixture
def server(process, tmp_path):
    connection = wait_until(lambda: connected(tmp_path / "gpu0.sock"))

    assert isinstance(FROM_SLOT.validate_json(connection.receive(20)), Hello)

    yield connection
    connection.close()


def connected(path):
    """Return a connection, or None: the socket's file is there a moment before it listens."""
    try:
        return connect(path)
    except OSError:
        return None


def order(outputs, prompt, job="a"):
    endpoint = ENDPOINTS["fal-ai/wan/v2.2-a14b/text-to-video"]
    plan = endpoint.plan(endpoint.input.model_validate({"prompt": prompt}), 3, {})
    return Run(errand=Errand(job=job, attempt=1), plan=plan, output=str(outputs / f"{job}.1.mp4"))


def ending(connection):
    """Return what the process says when the errand is over."""
    while True:
        message = FROM_SLOT.validate_json(connection.receive(20))
        if not isinstance(message, Alive | Said):
            return message


def test_a_plan_becomes_a_hashed_file(server, outputs):
    """Whoever takes the file can tell that it is the one that was written."""
    server.send(order(outputs, "steps=2"))
    done = ending(server)
    data = (outputs / "a.1.mp4").read_bytes()

    assert isinstance(done, Done)
    assert (hashlib.sha256(data).hexdigest(), len(data)) == (done.sha256, done.size_bytes)


@pytest.mark.parametrize(
    ("prompt", "error"),
    [
        ("invalid", "InvalidPlan"),
        ("bug", "InternalError"),
        ("nothing", "InternalError"),
        ("hungry", "OutOfMemory"),
    ],
)
def test_an_error_is_an_answer_and_the_process_goes_on(server, outputs, prompt, error):
    """The loaded weights stay; only the engine's own errors are told in its words."""
    server.send(order(outputs, prompt))
    failed = ending(server)
    server.send(order(outputs, "steps=1", job="b"))

    assert isinstance(failed, Failed)
    assert error == failed.error
    assert "secret" not in failed.message
    assert isinstance(ending(server), Done)


def test_a_refusal_names_the_part_that_was_refused(server, outputs):
    """The client is pointed at the field of its request."""
    server.send(order(outputs, "refused"))
    failed = ending(server)

    assert ("ContentRefused", "prompt") == (failed.error, failed.part)


def test_a_broken_context_ends_the_process(server, process, outputs):
    """Without an ending: the attempt is lost and is tried again in a process that works."""
    server.send(order(outputs, "broken"))
    with pytest.raises(TypeError):
        ending_or_nothing(server)

    assert 1 == process.wait(20)
    assert "device-side assert" in process.stderr.read()


def ending_or_nothing(connection):
    while True:
        line = connection.receive(20)
        if line is None:
            raise TypeError
        assert not isinstance(FROM_SLOT.validate_json(line), Done | Failed | Cancelled)


def test_a_cancel_before_the_first_event_counts(server, outputs):
    """It may overtake the engine."""
    first = order(outputs, "steps=1000 pause=0.01")
    second = order(outputs, "steps=1", job="b")
    server.send(first)
    server.send(second)
    server.send(Cancel(errand=second.errand))
    server.send(Cancel(errand=first.errand))

    assert Cancelled(errand=first.errand) == ending(server)


def test_nothing_is_left_of_a_cancelled_plan(server, outputs):
    """Half a video is nobody's."""
    plan = order(outputs, "steps=1000 pause=0.01")
    server.send(plan)
    server.send(Cancel(errand=plan.errand))

    assert Cancelled(errand=plan.errand) == ending(server)
    assert [] == list(outputs.iterdir())


@pytest.mark.parametrize("end", ["quit", "sigterm"])
def test_it_ends_cleanly_in_the_middle_of_a_job(server, process, outputs, tmp_path, end):
    """A service manager sends SIGTERM to everybody; the job is given up, not lost."""
    plan = order(outputs, "steps=1000 pause=0.01")
    server.send(plan)
    wait_until(lambda: (tmp_path / "executions").exists())
    if end == "quit":
        server.send(Quit())
    else:
        process.send_signal(signal.SIGTERM)

    assert Cancelled(errand=plan.errand) == ending(server)
    assert 0 == process.wait(20)
    assert [] == list(outputs.iterdir())
    assert not (tmp_path / "gpu0.sock").exists()


def test_without_a_server_it_gives_up_what_it_does(server, process, outputs, tmp_path):
    """After the grace time nobody will ask for it any more."""
    server.send(order(outputs, "steps=100000 pause=0.01"))
    wait_until(lambda: (tmp_path / "executions").exists())
    server.close()

    assert 0 == process.wait(20)
    assert [] == list(outputs.iterdir())


def test_a_video_nobody_fetches_is_removed(server, process, outputs):
    """It would lie there until the next start, if there is one."""
    server.send(order(outputs, "steps=30 pause=0.02"))
    server.close()

    assert 0 == process.wait(20)
    assert [] == list(outputs.iterdir())


def test_only_cuda_errors_are_for_good():
    """An ordinary RuntimeError is one job's problem."""
    assert broken_for_good(RuntimeError("CUDA error: an illegal memory access was encountered"))
    assert not broken_for_good(RuntimeError("shape mismatch"))
    assert not broken_for_good(KeyError("CUDA error"))


def test_the_engine_is_a_setting(tmp_path):
    """`module:function`, as entry points are written."""
    assert isinstance(open_engine(FAKE, tmp_path, "cpu"), FakeEngine)


def test_the_engine_is_told_how_weights_are_kept(tmp_path):
    """And nothing else than what it knows: a typing error must not run unquantised."""
    assert "int8" == open_engine(FAKE, tmp_path, "cpu", "int8").quantization
    command = [sys.executable, "-m", "server.dispatch.gpu_process", "--quantization", "int9"]
    refused = subprocess.run(command, capture_output=True, text=True)

    assert 2 == refused.returncode
    assert "invalid choice: 'int9'" in refused.stderr
