"""The blocking call: the connection waits for the result.

A client that hangs up cancels its job, but not at once. Node gives every request 300 seconds and
then sends the same one again, a few seconds later, up to four times: a generation that takes
longer would be begun anew each time and never end. So a job whose client left lives on for
`GRACE`, and the same body from the same key takes it over. Two clients that are both still
connected never share a job, whatever they send; an `Idempotency-Key` is there for that.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from server.api.admission import Admission, Application
from server.api.queue import EVENT_STREAM, PING_EVERY, answer_result
from server.api.watching import Watcher, wait
from server.jobs.model import Job
from server.jobs.store import StoreUnavailable, UnknownJob
from server.reporting import Urls, result_body
from server.services import Services

log = logging.getLogger(__name__)

GRACE = 15.0
"""Seconds; JavaScript's delays before a retry are 1, 2 and 4 s, a quarter more at most."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """A job whose client left."""

    fingerprint: str
    """Of the call that may take it over."""
    timer: asyncio.Task[None]
    """Cancels the job in the end."""


class Run:
    """The handlers of `/run`."""

    def __init__(
        self,
        services: Services,
        admission: Admission,
        watcher: Watcher,
        *,
        grace: float = GRACE,
    ) -> None:
        self._jobs = services.jobs
        self._admission = admission
        self._watcher = watcher
        self._grace = grace
        self._connected: Counter[str] = Counter()
        self._orphans: dict[str, Orphan] = {}

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/run/{endpoint:path}/stream", self.stream, methods=["POST"]),
            Route("/run/{endpoint:path}", self.run, methods=["POST"]),
        ]

    async def run(self, request: Request) -> Response:
        """Return the result of a new job, however long it takes."""
        application = await self._admission.read(request, request.path_params["endpoint"])
        job = await self._enter(application)
        ended = asyncio.ensure_future(self._end_of(job.id))
        gone = asyncio.ensure_future(_disconnect(request))
        try:
            await asyncio.wait({ended, gone}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return answer_result(await ended, request.scope["urls"])
            return Response(status_code=499)  # nobody reads it
        finally:
            ended.cancel()
            gone.cancel()
            self._leave(application, job.id)

    async def stream(self, request: Request) -> Response:
        """Stream the result of a new job: its output, or its error, is the only event.

        The answer begins at once, so that a client that gives up on silent servers does not.
        """
        application = await self._admission.read(request, request.path_params["endpoint"])
        job = await self._enter(application)
        events = self._events(application, job.id, request.scope["urls"])
        headers = {**EVENT_STREAM, "x-fal-request-id": job.id}
        return StreamingResponse(events, headers=headers, media_type="text/event-stream")

    async def _events(self, application: Application, id: str, urls: Urls) -> AsyncIterator[str]:
        try:
            async for ping in self._pings(id):
                yield ping
            outcome = self._jobs.get(id).outcome
            if outcome is not None:
                yield f"data: {orjson.dumps(result_body(outcome, urls)).decode()}\n\n"
        finally:
            self._leave(application, id)

    async def _pings(self, id: str) -> AsyncIterator[str]:
        with self._watcher.watch(id) as changed:
            while not self._jobs.get(id).state.is_final:
                if not await wait(changed, PING_EVERY):
                    yield ": ping\n\n"
                changed.clear()

    async def _enter(self, application: Application) -> Job:
        """Return the job to wait for: one that lost its client a moment ago, or a new one."""
        job = self._lost(application.fingerprint) or await self._admission.submit(application)
        self._connected[job.id] += 1
        # An idempotency key may lead to an orphan too, whatever the body was.
        orphan = self._orphans.pop(job.id, None)
        if orphan is not None:
            orphan.timer.cancel()
        return job

    def _lost(self, fingerprint: str) -> Job | None:
        for id, orphan in self._orphans.items():
            if orphan.fingerprint == fingerprint:
                return self._known(id)
        return None

    def _leave(self, application: Application, id: str) -> None:
        """Count one client less; the last one to leave a job that goes on makes it an orphan."""
        self._connected[id] -= 1
        if self._connected[id] > 0:
            return
        del self._connected[id]
        job = self._known(id)
        if job is None or job.state.is_final:
            return
        log.info("job %s: its client left", id, extra={"job": id})
        timer = asyncio.get_running_loop().create_task(self._give_up(id))
        self._orphans[id] = Orphan(application.fingerprint, timer)

    async def _give_up(self, id: str) -> None:
        await asyncio.sleep(self._grace)
        # Off the list before the cancel, which takes a moment: nobody may adopt it any more.
        del self._orphans[id]
        try:
            await run_in_threadpool(self._jobs.cancel, id)
        except (StoreUnavailable, UnknownJob) as error:
            log.warning("job %s could not be cancelled: %s", id, error, extra={"job": id})

    async def _end_of(self, id: str) -> Job:
        with self._watcher.watch(id) as changed:
            while not (job := self._jobs.get(id)).state.is_final:
                await changed.wait()
                # Before the next look, not after it: a change in between would be missed.
                changed.clear()
        return job

    def _known(self, id: str | None) -> Job | None:
        try:
            return self._jobs.get(id) if id else None
        except UnknownJob:
            return None


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
