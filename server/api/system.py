"""How the server is doing, and the key that its webhooks are signed with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.api.errors import answer
from server.services import Services

Describe = Callable[[], list[dict[str, Any]]]


class System:
    """The handlers of `/health`, `/slots` and the JSON Web Key Set."""

    def __init__(self, services: Services, slots: Describe) -> None:
        self._services = services
        self._slots = slots

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/health", self.health),
            Route("/slots", self.slots),
            Route("/rest/.well-known/jwks.json", self.jwks),
            Route("/.well-known/jwks.json", self.jwks),
        ]

    async def health(self, _: Request) -> Response:
        """Say that the server answers; anyone may ask."""
        return answer({"status": "ok"})

    async def slots(self, _: Request) -> Response:
        """Return what each slot is doing, and how many jobs stand where."""
        jobs = {str(state): count for state, count in self._services.jobs.counts().items()}
        return answer({"slots": self._slots(), "jobs": jobs})

    async def jwks(self, _: Request) -> Response:
        """Return the public key of the webhooks' signatures; anyone may check them."""
        return answer(self._services.signer.jwks())
