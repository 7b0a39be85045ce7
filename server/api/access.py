"""Who is calling: API key -> owner. Every path needs one but those listed as public."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from server.api.errors import Refused
from server.api.fields import field
from server.jobs.model import Job
from server.jobs.store import JobStore, UnknownJob
from server.services import Services

_PUBLIC = {"/health", "/rest/.well-known/jwks.json", "/.well-known/jwks.json"}


class Access:
    """ASGI layer: leaves the id of the caller's key in `scope["owner"]`; empty without keys."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if its caller may make it."""
        if scope["type"] != "http" or is_public(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        owner = self._owner(field(scope, b"authorization"), scope["path"])
        if owner is None:
            raise Refused(401, {"detail": "No user found for Key ID and Secret"})
        await self._app({**scope, "owner": owner}, receive, send)

    def _owner(self, authorization: str | None, path: str) -> str | None:
        keys = self._services.keys
        if keys.empty:
            # No key has been made: whoever is on this machine may use it, and nobody else. Any
            # credential will do, since fal's clients insist on sending one.
            return "" if self._services.settings.on_loopback else None
        owner = keys.check(authorization)
        if owner is None and path.startswith("/cdn/"):
            owner = self._services.passes.check((authorization or "").partition(" ")[2].strip())
            # A pass dies with its key.
            return owner if owner is not None and owner in keys else None
        return owner


def is_public(method: str, path: str) -> bool:
    """Whether *path* needs no key.

    Files are public by their unguessable URL, as fal's are: browsers, huggingface_hub and litellm
    fetch results without a key. Upload URLs carry a secret of their own: JavaScript sends none.
    """
    if path.startswith("/cdn/files/"):
        return method in {"GET", "HEAD"}
    return path in _PUBLIC or path.startswith("/cdn/put/")


def find_job(jobs: JobStore, id: str, owner: str) -> Job | None:
    """Return the job, or None if there is none that the caller *owner* may see.

    Another key's job is answered like one that never was. What was submitted before the first key
    was made belongs to everybody who was let in.
    """
    try:
        job = jobs.get(id)
    except UnknownJob:
        return None
    return job if job.request.owner in {"", owner} else None
