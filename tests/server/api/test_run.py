"""The blocking call: what happens when clients wait, leave, and come back."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.routing import Router

from server.api.admission import Admission
from server.api.run import Run
from server.api.watching import Watcher
from server.jobs.model import JobState
from server.reporting import Urls, engine_failed
from tests.server.api.conftest import T2V

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Call:
    """One HTTP call whose connection the test holds in its hand."""

    def __init__(self, app, path, body=None, *, owner="", headers=()):
        raw = json.dumps(body or {"prompt": "a"}).encode()
        self._incoming = asyncio.Queue()
        self._incoming.put_nowait({"type": "http.request", "body": raw, "more_body": False})
        self.sent = []
        scope = {
            "type": "http", "method": "POST", "path": path, "query_string": b"", "root_path": "",
            "headers": list(headers), "asgi": {"version": "3.0", "spec_version": "2.3"},
            "owner": owner, "urls": Urls(queue="http://h/queue", files="http://h"),
        }  # fmt: skip
        self.task = asyncio.create_task(app(scope, self._incoming.get, self._send))

    async def _send(self, message):
        self.sent.append(message)

    async def hang_up(self):
        self._incoming.put_nowait({"type": "http.disconnect"})
        await self.task

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.sent)


async def until(condition):
    """Wait until *condition* holds; the test's timeout is the limit."""
    while not condition():  # noqa: ASYNC110 - what is waited for happens in threads
        await asyncio.sleep(0.005)


@pytest.fixture
def build(services):
    """Make an application of the `/run` routes with a grace of so many seconds."""

    def build(grace):
        watcher = Watcher(services.jobs)
        return Router(Run(services, Admission(services), watcher, grace=grace).routes())

    return build


async def test_the_answer_is_the_result(build, hand):
    """`fal.run` is the first call in every tutorial."""
    call = Call(build(60), f"/run/{T2V}")
    await until(hand.queued)
    job = hand.start()
    hand.finish(job)
    await call.task

    assert 200 == call.status
    assert "http://h/cdn/files/token/a.mp4" == json.loads(call.body)["video"]["url"]
    assert (b"x-fal-request-id", job.id.encode()) in call.sent[0]["headers"]


async def test_an_error_is_the_answer_too(build, hand):
    """With its own status, which is why nothing is sent before the end is known."""
    call = Call(build(60), f"/run/{T2V}")
    await until(hand.queued)
    hand.finish(hand.start(), engine_failed("InvalidPlan", "too large"))
    await call.task

    assert 422 == call.status
    assert "too large" == json.loads(call.body)["detail"][0]["msg"]


async def test_a_client_that_leaves_frees_the_gpu(build, hand, services):
    """An aborted call must not cost half an hour of GPU time."""
    call = Call(build(0), f"/run/{T2V}")
    await until(hand.queued)
    job = hand.start()
    await call.hang_up()
    await until(lambda: services.jobs.get(job.id).cancel_requested)

    assert JobState.RUNNING is services.jobs.get(job.id).state


async def test_node_comes_back_after_300_seconds_and_finds_its_job(build, hand, services):
    """Undici gives up on silent headers, and JavaScript's client sends the same body again.

    Four generations would be started, and none would end.
    """
    app = build(60)
    first = Call(app, f"/run/{T2V}", {"prompt": "long"})
    await until(hand.queued)
    job = hand.start()
    await first.hang_up()
    second = Call(app, f"/run/{T2V}", {"prompt": "long"})
    await asyncio.sleep(0.05)
    hand.finish(job)
    await second.task

    assert (200, 0) == (second.status, hand.queued())
    assert (b"x-fal-request-id", job.id.encode()) in second.sent[0]["headers"]


async def test_a_job_that_ended_meanwhile_is_the_answer(build, hand):
    """It may finish in the seconds between the two calls."""
    app = build(60)
    first = Call(app, f"/run/{T2V}", {"prompt": "long"})
    await until(hand.queued)
    job = hand.start()
    await first.hang_up()
    hand.finish(job)
    second = Call(app, f"/run/{T2V}", {"prompt": "long"})
    await second.task

    assert (200, 0) == (second.status, hand.queued())


async def test_a_client_that_came_back_keeps_its_job(build, hand, services):
    """The timer that the first connection left behind must not fire."""
    app = build(0.1)
    first = Call(app, f"/run/{T2V}")
    await until(hand.queued)
    job = hand.start()
    await first.hang_up()
    second = Call(app, f"/run/{T2V}")
    await asyncio.sleep(0.3)

    assert not services.jobs.get(job.id).cancel_requested
    hand.finish(job)
    await second.task
    assert 200 == second.status


async def test_two_connected_clients_never_share_a_job(build, hand):
    """Someone who asks twice for the same words at once wants two videos."""
    app = build(60)
    calls = [Call(app, f"/run/{T2V}") for _ in range(2)]
    await until(lambda: hand.queued() == 2)

    for _ in calls:
        hand.finish(hand.start())
    await asyncio.gather(*(call.task for call in calls))
    assert [200, 200] == [call.status for call in calls]


async def test_two_clients_with_the_same_words_that_leave_free_two_gpus(build, hand, services):
    """Equal calls have one fingerprint: the second to leave must not hide the first."""
    app = build(0.05)
    calls = [Call(app, f"/run/{T2V}") for _ in range(2)]
    await until(lambda: hand.queued() == 2)
    jobs = [hand.start(), hand.start()]
    for call in calls:
        await call.hang_up()

    await until(lambda: all(services.jobs.get(job.id).cancel_requested for job in jobs))

    assert 2 == len({job.id for job in jobs})


@pytest.mark.parametrize(
    ("path", "body", "owner"),
    [
        (f"/run/{T2V}", {"prompt": "other"}, ""),
        (f"/run/{T2V}/turbo", {"prompt": "a"}, ""),
        (f"/run/{T2V}", {"prompt": "a"}, "somebody else"),
    ],
)
async def test_nobody_else_takes_a_lost_job_over(build, hand, path, body, owner):
    """Other words, another endpoint, another key: a job of its own."""
    app = build(60)
    first = Call(app, f"/run/{T2V}", {"prompt": "a"})
    await until(hand.queued)
    hand.start()
    await first.hang_up()
    other = Call(app, path, body, owner=owner)
    await until(lambda: hand.queued() == 1)

    assert not other.task.done()


async def test_an_idempotency_key_shares_a_job_until_the_last_leaves(build, hand, services):
    """One of two waiting clients that leaves must not take the other's video away."""
    app = build(0)
    header = [(b"idempotency-key", b"shot-12")]
    first = Call(app, f"/run/{T2V}", headers=header)
    await until(hand.queued)
    second = Call(app, f"/run/{T2V}", headers=header)
    await asyncio.sleep(0.05)
    job = hand.start()
    await first.hang_up()
    await asyncio.sleep(0.05)

    assert not services.jobs.get(job.id).cancel_requested
    hand.finish(job)
    await second.task
    assert 200 == second.status


async def test_an_idempotency_key_leads_back_to_a_lost_job(build, hand, services):
    """Even with a body that was put together differently; its timer must not fire then."""
    app = build(0.1)
    header = [(b"idempotency-key", b"shot-12")]
    first = Call(app, f"/run/{T2V}", {"prompt": "a"}, headers=header)
    await until(hand.queued)
    job = hand.start()
    await first.hang_up()
    second = Call(app, f"/run/{T2V}", {"prompt": "a", "seed": None}, headers=header)
    await asyncio.sleep(0.3)

    assert not services.jobs.get(job.id).cancel_requested
    hand.finish(job)
    await second.task
    assert 200 == second.status


async def test_a_stream_ends_with_the_whole_output(build, hand):
    """JavaScript's `done()` resolves with the last event."""
    call = Call(build(60), f"/run/{T2V}/stream")
    await until(hand.queued)
    await until(lambda: call.sent)
    hand.finish(hand.start())
    await call.task

    headers = dict(call.sent[0]["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    events = [line for line in call.body.decode().split("\n\n") if line]
    assert 7 == json.loads(events[-1].removeprefix("data: "))["seed"]


async def test_a_stream_of_a_failed_job_ends_with_the_error(build, hand):
    """The status is long sent by then."""
    call = Call(build(60), f"/run/{T2V}/stream")
    await until(hand.queued)
    hand.finish(hand.start(), engine_failed("OutOfMemory", "90 GB"))
    await call.task

    assert 200 == call.status
    assert b'"msg":"90 GB"' in call.body


async def test_a_reader_that_leaves_its_stream_frees_the_gpu(build, hand, services):
    """As with `run`."""
    call = Call(build(0), f"/run/{T2V}/stream")
    await until(hand.queued)
    job = hand.start()
    await until(lambda: call.sent)
    await asyncio.sleep(0.05)
    await call.hang_up()

    await until(lambda: services.jobs.get(job.id).cancel_requested)
