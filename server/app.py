"""create_app: the routes, inside the layers that every request passes.

    Door        names the request and logs it
    Browsers    which names and web origins are answered; CORS
    Net         exceptions -> answers
    Routing     every spelling of a URL -> one path
    Access      API key -> owner
    StatusPolls answers them
    the routes

The queue's own routes are plain Starlette, because a call costs a fraction of what it would under
FastAPI, and waiting clients make ten a second; the pages about the server are FastAPI's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from server.api.access import Access
from server.api.admission import Admission
from server.api.browsers import Browsers
from server.api.door import Door, Net
from server.api.polls import StatusPolls
from server.api.queue import Queue
from server.api.routing import Routing
from server.api.run import Run
from server.api.site import site_routes
from server.api.storage import Storage
from server.api.watching import Watcher
from server.services import Services


def create_app(services: Services, *, slots: Callable[[], list[dict[str, Any]]] = list) -> ASGIApp:
    """Return the ASGI application.

    Args:
        services: The opened data directory; closing it is the caller's business.
        slots: Describes the slots, for `/slots`.
    """
    watcher = Watcher(services.jobs)
    admission = Admission(services)
    router = Router(
        [
            *Queue(services, admission, watcher).routes(),
            *Run(services, admission, watcher).routes(),
            *Storage(services).routes(),
            *site_routes(services, slots),
        ],
        # Slashes are trimmed before: fal's server SDK follows no redirect.
        redirect_slashes=False,
        lifespan=_lifespan(watcher),
    )
    app: ASGIApp = StatusPolls(_Raising(router), services.jobs)
    app = Net(Routing(Access(app, services), services.settings))
    return Door(Browsers(app, services.settings, services.keys))


class _Raising:
    """Makes the router raise for an unknown path or method, so that the net words the answer."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._router({**scope, "app": self}, receive, send)


def _lifespan(watcher: Watcher) -> Callable[[Any], Any]:
    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        yield
        watcher.close()

    return lifespan
