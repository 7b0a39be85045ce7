"""The queue: submit, status stream, result, cancel; the status itself is in `polls.py`.

A request id alone names a job: clients shorten or lengthen the path in front of it as they like.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from server.api.access import find_job
from server.api.admission import Admission
from server.api.errors import Refused, answer, answer_error
from server.api.polls import unknown_status, wants_logs
from server.api.watching import Watcher, wait
from server.jobs.model import Job, JobState
from server.reporting import Urls, result_body, status_body, submit_body
from server.services import Services

PING_EVERY = 15.0
"""Seconds of silence after which a stream sends a comment, as the hosted one does."""
POSITION_EVERY = 1.0
"""Seconds between looks at the queue position, which changes without a change of the job."""
EVENT_STREAM = {"cache-control": "no-store", "x-accel-buffering": "no"}


class Queue:
    """The handlers of `/queue`."""

    def __init__(self, services: Services, admission: Admission, watcher: Watcher) -> None:
        self._jobs = services.jobs
        self._admission = admission
        self._watcher = watcher

    def routes(self) -> list[Route]:
        """Return the routes; status polls do not come as far as here."""
        job = "/queue/{app:path}/requests/{id}"
        return [
            Route(f"{job}/status/stream", self.stream),
            Route(f"{job}/cancel", self.cancel, methods=["PUT"]),
            Route(f"{job}/preview", self.preview),
            Route(f"{job}/response", self.result),
            Route(job, self.result),
            Route("/queue/{endpoint:path}", self.submit, methods=["POST"]),
        ]

    async def submit(self, request: Request) -> Response:
        """Accept a job: 200 once it is on the disk."""
        application = await self._admission.read(request, request.path_params["endpoint"])
        job = await self._admission.submit(application)
        body = submit_body(job, self._jobs.position(job.id), request.scope["urls"])
        return answer(body, headers=_about(job))

    async def stream(self, request: Request) -> Response:
        """Stream the status as events until the job is COMPLETED."""
        job = self._find(request, unknown_status())
        events = self._events(
            job.id, request.scope["urls"], logs=wants_logs(request.scope["query_string"])
        )
        headers = {**EVENT_STREAM, **_about(job)}
        return StreamingResponse(events, headers=headers, media_type="text/event-stream")

    async def result(self, request: Request) -> Response:
        """Return what came of a job, with the status it deserves."""
        job = self._find(request, Refused(404, {"detail": "Request not found"}))
        return answer_result(job, request.scope["urls"])

    async def preview(self, request: Request) -> Response:
        """Return the latest rough picture of a running job, if previews were asked for."""
        job = self._find(request, Refused(404, {"detail": "Request not found"}))
        if job.preview is None:
            raise Refused(404, {"detail": "There is no preview of this request at the moment"})
        headers = {"cache-control": "no-store", **_about(job)}
        return Response(job.preview.jpeg, headers=headers, media_type="image/jpeg")

    async def cancel(self, request: Request) -> Response:
        """Cancel a job: at once if it waits, within a step if it runs."""
        job = self._find(request, unknown_status())
        if not job.state.is_final:
            job = await run_in_threadpool(self._jobs.cancel, job.id)
            if not job.state.is_final or job.state is JobState.CANCELLED:
                return answer({"status": "CANCELLATION_REQUESTED"}, 202, _about(job))
        return answer({"status": "ALREADY_COMPLETED"}, 400, _about(job))

    async def _events(self, id: str, urls: Urls, *, logs: bool) -> AsyncIterator[str]:
        said, sent, silence = b"", 0, 0.0
        with self._watcher.watch(id) as changed:
            while True:
                changed.clear()
                job = self._jobs.get(id)
                # JavaScript appends each event's lines to those it has: only new ones are sent.
                body = orjson.dumps(self._status(job, urls, logs=logs, since=sent))
                sent = len(job.log)
                if body != said:
                    said, silence = body, 0.0
                    yield f"data: {body.decode()}\n\n"
                if job.state.is_final:
                    return
                patience = POSITION_EVERY if job.state is JobState.QUEUED else PING_EVERY
                silence += 0.0 if await wait(changed, patience) else patience
                if silence >= PING_EVERY:
                    silence = 0.0
                    yield ": ping\n\n"

    def _status(self, job: Job, urls: Urls, *, logs: bool, since: int = 0) -> dict[str, object]:
        ahead = self._jobs.position(job.id) if job.state is JobState.QUEUED else 0
        return status_body(job, ahead, urls, logs=logs, since=since)

    def _find(self, request: Request, unknown: Refused) -> Job:
        job = find_job(self._jobs, request.path_params["id"], request.scope["owner"])
        if job is None:
            raise unknown
        return job


def answer_result(job: Job, urls: Urls) -> Response:
    """Return the result of *job*, or the refusal that AI SDK waits on while there is none."""
    if job.outcome is None:
        # @ai-sdk/fal goes on polling only if the text is exactly this and the status is not 2xx.
        return answer({"detail": "Request is still in progress"}, 400, _about(job))
    body = result_body(job.outcome, urls)
    return answer_error(job.outcome.status_code, body, _about(job))


def _about(job: Job) -> dict[str, str]:
    return {"x-fal-request-id": job.id}
