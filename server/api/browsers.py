"""What web pages may do: the address names they may use, and the origins that may call.

Two attacks come through an artist's browser. A page of a stranger can post to `localhost`: calls
that change something are refused unless the page's origin is listed or our own. And a stranger's
name can be made to point at this machine, which makes his page "same origin" (DNS rebinding):
while no key protects the server, only names that are its own are answered. Programs send no
`Origin` and use the names they were given, so neither rule meets them.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.errors import answer_error
from server.api.fields import field
from server.api.routing import FAL_HOSTS, SERVICES, hostname
from server.keys import KeyRing
from server.settings import Settings

METHODS = "GET, HEAD, POST, PUT, OPTIONS"
EXPOSED = (
    "x-fal-request-id, x-fal-request-timeout-type, x-fal-error-type, x-fal-retryable, etag, "
    "content-range"
)
REMEMBERED = "600"  # seconds
_SAFE = {"GET", "HEAD", "OPTIONS"}


class Browsers:
    """ASGI layer: refuses strange hosts and origins, and answers CORS preflights."""

    def __init__(self, app: ASGIApp, settings: Settings, keys: KeyRing) -> None:
        self._app = app
        self._keys = keys
        self._origins = frozenset(settings.cors_origins)
        self._guards_names = settings.on_loopback
        self._own = _own_names(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if its host and origin are welcome."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = hostname(field(scope, b"host") or "")
        if self._guards_names and not self._is_ours(name) and self._keys.empty:
            message = (
                f"This server does not answer to the name {name[:100]!r}: it listens on this "
                "machine only. Use localhost, set public_url, or make a key."
            )
            await answer_error(421, {"detail": message})(scope, receive, send)
            return
        origin = field(scope, b"origin")
        if origin is None:
            await self._app(scope, receive, send)
            return
        await self._from_page(scope, receive, send, origin=origin)

    async def _from_page(self, scope: Scope, receive: Receive, send: Send, *, origin: str) -> None:
        headers = Headers(scope=scope)
        listed = origin in self._origins or "*" in self._origins
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await _preflight(headers, origin, listed=listed)(scope, receive, send)
            return
        ours = urlsplit(origin).netloc == headers.get("host")
        if scope["method"] not in _SAFE and not listed and not ours:
            message = f"Pages of {origin[:100]!r} may not call this server: see cors_origins"
            await answer_error(403, {"detail": message})(scope, receive, send)
            return

        async def allow(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer["access-control-allow-origin"] = origin
                answer["access-control-expose-headers"] = EXPOSED
                answer.add_vary_header("origin")
            await send(message)

        await self._app(scope, receive, allow if listed else send)

    def _is_ours(self, name: str) -> bool:
        if not name or name in self._own or name.endswith(".localhost"):
            return True
        label, _, rest = name.partition(".")
        return (label in SERVICES and rest in self._own) or _is_loopback(name)


def _preflight(headers: Headers, origin: str, *, listed: bool) -> Response:
    if not listed:
        return Response(status_code=403)
    allowed = {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": METHODS,
        "access-control-allow-headers": headers.get("access-control-request-headers", ""),
        "access-control-max-age": REMEMBERED,
        "vary": "origin",
    }
    # Chrome asks this before a page from the internet may call a machine on the local network.
    if headers.get("access-control-request-private-network") == "true":
        allowed["access-control-allow-private-network"] = "true"
    return Response(status_code=204, headers=allowed)


def _own_names(settings: Settings) -> frozenset[str]:
    machine = socket.gethostname().lower()
    names: Iterable[str] = (
        *FAL_HOSTS,
        "localhost",
        settings.host.lower(),
        machine,
        f"{machine}.local",
        socket.getfqdn().lower(),
    )
    public = urlsplit(settings.public_url or "").hostname
    return frozenset([*names, *([public] if public else [])])


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
