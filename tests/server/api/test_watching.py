"""From the store's threads to the event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from server.api.watching import Watcher, wait
from server.jobs.model import NewJob
from tests.server.api.conftest import T2V

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def job(services):
    return services.jobs.submit(NewJob(endpoint=T2V, input={}, seed=1))


async def test_a_change_in_another_thread_wakes_the_watcher(services, job):
    """The dispatcher lives in threads, streams live in the loop."""
    watcher = Watcher(services.jobs)
    with watcher.watch(job.id) as changed, watcher.watch(job.id) as also:
        threading.Thread(target=services.jobs.cancel, args=(job.id,)).start()

        assert await wait(changed, 30)
        assert await wait(also, 30)


async def test_another_job_wakes_nobody(services, job, hand):
    """A thousand streams must not all wake for each step of each job."""
    watcher = Watcher(services.jobs)
    with watcher.watch("other") as changed:
        hand.start()

        assert not await wait(changed, 0.05)


async def test_nothing_is_left_of_a_watch(services, job):
    """Servers run for months."""
    watcher = Watcher(services.jobs)
    with watcher.watch(job.id), watcher.watch(job.id):
        pass

    assert {} == watcher._waiters


async def test_a_closed_watcher_hears_nothing(services, job, hand):
    """After the application's end."""
    watcher = Watcher(services.jobs)
    with watcher.watch(job.id) as changed:
        watcher.close()
        hand.start()

        assert not await wait(changed, 0.05)


def test_a_loop_that_is_gone_is_no_trouble(services):
    """A change may come while the server is on its way down."""
    job = services.jobs.submit(NewJob(endpoint=T2V, input={}, seed=1))
    watcher = Watcher(services.jobs)
    loop = asyncio.new_event_loop()
    held = []

    async def enter():
        held.append(watcher.watch(job.id))
        held[0].__enter__()

    loop.run_until_complete(enter())
    loop.close()

    assert services.jobs.cancel(job.id).state.is_final
    assert [job.id] == list(watcher._waiters)
