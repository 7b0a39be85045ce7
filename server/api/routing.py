"""Every spelling of a URL -> one path, and the base of the URLs to answer with.

A client reaches a service by a path prefix (`/queue/...`), by the name of the host
(`queue.box.lan`, or fal's own names in a hosts file), through the proxy route, or with fal's bare
paths, which mean the queue. Behind this layer there are only `/queue`, `/run`, `/rest` and `/cdn`.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from server.api.errors import Refused
from server.api.fields import field
from server.endpoints import ENDPOINTS
from server.reporting import Urls
from server.settings import Settings

SERVICES = ("queue", "run", "rest", "cdn")

# fal's hosts, with the backup domains of fal_client 1.0.2 and later, and the older ones.
FAL_HOSTS = {
    "queue.fal.run": "queue",
    "queue.falrun.com": "queue",
    "fal.run": "run",
    "falrun.com": "run",
    "rest.fal.ai": "rest",
    "rest.alpha.fal.ai": "rest",
    "v3.fal.media": "cdn",
    "v3b.fal.media": "cdn",
    "fal.media": "cdn",
}
PROXY_PATHS = {"/fal/proxy", "/api/fal/proxy"}

# `fal-ai/wan` without any prefix; the namespaces come before the owner.
_OWNERS = {id.split("/", 1)[0] for id in ENDPOINTS} | {"workflows", "comfy"}


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a request is going."""

    path: str
    """Begins with one of the services, or is a page of the site; no slash at the end."""
    prefix: str
    """What stood in front of the service's own path: `/queue`, or nothing."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a proxied request wanted to go."""

    destination: Destination
    query: bytes
    queue: str
    """Base of the queue's URLs in the caller's eyes."""


class Routing:
    """ASGI layer: rewrites the path, and leaves the answer's URLs in `scope["urls"]`."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under its one path."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        base = base_url(scope, self._settings)
        path = _trimmed(scope["path"])
        if path in PROXY_PATHS:
            target = find_target(field(scope, b"x-fal-target-url") or "")
            destination, queue = target.destination, target.queue
            scope = {**scope, "query_string": target.query}
        else:
            destination = find_destination(path, field(scope, b"host") or "")
            prefix = "/queue" if self._settings.public_url else _queue_prefix(destination)
            queue = base + prefix
        scope = {**scope, "path": destination.path, "urls": Urls(queue=queue, files=base)}
        await self._app(scope, receive, send)


def find_destination(path: str, host: str) -> Destination:
    """Return where *path* leads on *host*; a prefix counts for more than the host's name."""
    path = _trimmed(path)
    first = path.split("/", 2)[1]
    if first in SERVICES:
        return Destination(path, f"/{first}")
    service = service_of(hostname(host))
    if service is None and first.lower() in _OWNERS:
        service = "queue"
    return Destination(path if service is None else f"/{service}{path}", "")


def find_target(url: str) -> Target:
    """Return where `x-fal-target-url` leads.

    Nothing is ever forwarded: fal's URLs are answered here, and others are refused.

    Raises:
        Refused: If it is missing or not a URL of fal's.
    """
    try:
        parts = urlsplit(url)
        service = FAL_HOSTS[parts.hostname or ""] if parts.scheme in {"http", "https"} else ""
    except (KeyError, ValueError):
        service = ""
    if not service:
        raise Refused(400, {"detail": "Invalid request"})
    path = _trimmed(unquote(parts.path) or "/")
    origin = f"{parts.scheme}://{parts.netloc}"
    queue = origin if service == "queue" else "https://queue.fal.run"
    return Target(Destination(f"/{service}{path}", ""), parts.query.encode(), queue)


def base_url(scope: Scope, settings: Settings) -> str:
    """Return the base of this server's URLs as the client of a request sees it."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    scheme, host = scope["scheme"], field(scope, b"host") or "localhost"
    if settings.trust_forwarded:
        scheme = _first(field(scope, b"x-forwarded-proto")) or scheme
        host = _first(field(scope, b"x-forwarded-host")) or host
    return f"{scheme}://{host}"


def hostname(host: str) -> str:
    """Return the name in a `Host` header, in lower case: no port, no brackets, no final dot."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].rstrip(".").lower()


def service_of(name: str) -> str | None:
    """Return the service that a host name stands for, or None."""
    if name in FAL_HOSTS:
        return FAL_HOSTS[name]
    label, dot, _ = name.partition(".")
    return label if dot and label in SERVICES else None


def _queue_prefix(destination: Destination) -> str:
    # A client that ran into /run by prefix has no queue URL of its own; ours serves it.
    return destination.prefix and "/queue"


def _first(value: str | None) -> str:
    return (value or "").split(",", 1)[0].strip()


def _trimmed(path: str) -> str:
    # fal's server SDK ends its paths in a slash and follows no redirect.
    return path.rstrip("/") or "/"
