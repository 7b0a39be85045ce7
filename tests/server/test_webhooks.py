"""The outbox against a real receiver on a real port."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from server.jobs.model import NewJob
from server.jobs.store import JobStore
from server.media.addresses import AddressPolicy
from server.reporting import engine_failed, succeeded
from server.signing import WebhookSigner
from server.webhooks import DELAYS, Webhooks, payload
from tests.server.test_signing import verify

EVERYWHERE = AddressPolicy(loopback=True)
OUTPUT = {"video": {"url": "/cdn/files/t/a.mp4"}, "seed": 7}


class Clock:
    """Time that moves when a test says so."""

    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def receiver():
    """A web server that answers with the statuses it is told, in order, then 200."""
    statuses, received = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((dict(self.headers), body))
            self.send_response(statuses.pop(0) if statuses else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    server.statuses, server.received = statuses, received
    server.url = f"http://127.0.0.1:{server.server_address[1]}/hook?a=b&c=d"
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def jobs(tmp_path, clock):
    store = JobStore(tmp_path / "jobs.db", clock=clock)
    yield store
    store.close()


@pytest.fixture
def webhooks(jobs, tmp_path, clock):
    return Webhooks(jobs, WebhookSigner(tmp_path / "key.pem"), EVERYWHERE, clock=clock)


def end_a_job(jobs, url, outcome=None):
    job = jobs.submit(
        NewJob(endpoint="e", input={}, seed=7, webhook=url, base_url="http://studio:8900")
    )
    job = jobs.claim("gpu0", frozenset())
    assert jobs.finish(job.id, job.attempt, outcome or succeeded(OUTPUT))
    return jobs.get(job.id)


def test_the_receiver_gets_the_output_signed(jobs, webhooks, receiver, tmp_path):
    """The payload is the output with absolute URLs, and the documented verifier accepts it."""
    job = end_a_job(jobs, receiver.url)

    assert 1 == webhooks.deliver_due()

    [(headers, body)] = receiver.received
    verify(headers, body, WebhookSigner(tmp_path / "key.pem").jwks())
    assert {
        "request_id": job.id,
        "gateway_request_id": job.id,
        "status": "OK",
        "payload": {"video": {"url": "http://studio:8900/cdn/files/t/a.mp4"}, "seed": 7},
    } == json.loads(body)
    assert 0 == webhooks.deliver_due()


def test_a_failure_is_told_as_an_error(jobs, webhooks, receiver):
    """Consumers look at `status` and find the error body in `payload`."""
    end_a_job(jobs, receiver.url, engine_failed("InvalidPlan", "num_frames is wrong"))
    webhooks.deliver_due()
    [(_, body)] = receiver.received
    told = json.loads(body)

    assert ("ERROR", "Invalid status code: 422") == (told["status"], told["error"])
    assert "num_frames is wrong" == told["payload"]["detail"][0]["msg"]


def test_a_receiver_that_was_down_is_told_later(jobs, webhooks, receiver, clock):
    """A 500 and a redirect are failures; the next try comes after the delay, not before."""
    receiver.statuses += [500, 302]
    end_a_job(jobs, receiver.url)

    assert 1 == webhooks.deliver_due()
    assert 0 == webhooks.deliver_due()
    clock.now += DELAYS[0]
    assert 1 == webhooks.deliver_due()
    clock.now += DELAYS[1]
    assert 1 == webhooks.deliver_due()

    assert 3 == len(receiver.received)
    clock.now += 1e6
    assert 0 == webhooks.deliver_due()


def test_a_dead_receiver_is_given_up_after_ten_retries(jobs, webhooks, clock):
    """Two hours of trying is what the hosted service promises, and then the row goes."""
    end_a_job(jobs, "http://127.0.0.1:1/nobody-listens")
    tries = 0
    for _ in range(20):
        tries += webhooks.deliver_due()
        clock.now += max(DELAYS)

    assert len(DELAYS) + 1 == tries


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "ftp://127.0.0.1/x", "nonsense"])
def test_a_forbidden_or_broken_url_is_a_failed_delivery(jobs, webhooks, url):
    """It neither reaches the metadata service nor stops the outbox."""
    end_a_job(jobs, url)

    assert 1 == webhooks.deliver_due()
    assert 0 == webhooks.deliver_due()


def test_the_thread_delivers_by_itself_and_stops(jobs, webhooks, receiver):
    """Nothing but the end of a job is needed to set it off."""
    arrived = threading.Event()
    webhooks.start()
    try:
        end_a_job(jobs, receiver.url)
        for _ in range(100):
            if receiver.received:
                arrived.set()
                break
            arrived.wait(0.1)
    finally:
        webhooks.stop()

    assert 1 == len(receiver.received)


def test_a_job_that_has_not_ended_has_no_payload(jobs):
    """The outbox row is written with the end; anything else is a bug worth a loud error."""
    job = jobs.submit(NewJob(endpoint="e", input={}, seed=7, webhook="http://x"))

    with pytest.raises(ValueError, match="has not ended"):
        payload(job)
