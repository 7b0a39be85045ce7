"""The status poll, the one call that is made ten times a second by every waiting client.

It is answered from memory and written for speed: a layer before the router, without the request
and response objects of the other handlers, takes a third of the time that a route would.
"""

from __future__ import annotations

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from server.api.access import find_job
from server.api.errors import Refused
from server.jobs.model import JobState
from server.jobs.store import JobStore
from server.reporting import status_body, status_code

_YES = {b"1", b"true", b"yes"}
# What the official clients send: JavaScript a digit, Python a word.
_COMMON = {b"": False, b"logs=0": False, b"logs=false": False, b"logs=1": True, b"logs=true": True}


class StatusPolls:
    """ASGI layer: answers where a job stands, and passes everything else on.

    The HTTP status is 202 while the job waits or runs, then 200: fal's SDK goes by it.
    """

    def __init__(self, app: ASGIApp, jobs: JobStore) -> None:
        self._app = app
        self._jobs = jobs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a poll, or pass the request on."""
        id = _polled(scope) if scope["type"] == "http" else None
        if id is None:
            await self._app(scope, receive, send)
            return
        job = find_job(self._jobs, id, scope["owner"])
        if job is None:
            raise unknown_status()
        ahead = self._jobs.position(id) if job.state is JobState.QUEUED else 0
        logs = wants_logs(scope["query_string"])
        body = orjson.dumps(status_body(job, ahead, scope["urls"], logs=logs))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"x-fal-request-id", job.id.encode()),
        ]
        status = status_code(job)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        shown = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": shown})


def _polled(scope: Scope) -> str | None:
    """Return the id in `/queue/{any}/{path}/requests/{id}/status`, or None for another request."""
    path: str = scope["path"]
    if not (path.endswith("/status") and path.startswith("/queue/")):
        return None
    app, _, rest = path.rpartition("/requests/")
    id, _, last = rest.partition("/")
    polled = app and last == "status" and scope["method"] in {"GET", "HEAD"}
    return id if polled else None


def unknown_status() -> Refused:
    """Return the refusal of a job that is not there, in the words of status and cancel."""
    return Refused(404, {"status": "NOT_FOUND"})


def wants_logs(query: bytes) -> bool:
    """Whether a status was asked for with its log."""
    known = _COMMON.get(query)
    if known is not None:
        return known
    return any(
        name == b"logs" and value.lower() in _YES
        for name, _, value in (pair.partition(b"=") for pair in query.split(b"&"))
    )
