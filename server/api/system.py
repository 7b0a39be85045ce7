"""How the server is doing, and the key that its webhooks are signed with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from server.services import Services

Describe = Callable[[], list[dict[str, Any]]]


class Health(BaseModel):
    """The answer of a server that answers."""

    status: str = "ok"


class Work(BaseModel):
    """What is being done."""

    slots: list[dict[str, Any]]
    """Name, device, process id, state, job and problem of each."""
    jobs: dict[str, int]
    """How many jobs stand in each state."""


def system_router(services: Services, slots: Describe) -> APIRouter:
    """Return the routes of `/health`, `/slots` and the JSON Web Key Set."""
    router = APIRouter(tags=["system"])

    @router.head("/health", include_in_schema=False)
    @router.get("/health")
    def health() -> Health:
        """Say that the server answers; anyone may ask."""
        return Health()

    @router.get("/slots")
    def work() -> Work:
        """Return what each slot is doing, and how many jobs stand where."""
        jobs = {str(state): count for state, count in services.jobs.counts().items()}
        return Work(slots=slots(), jobs=jobs)

    @router.get("/rest/.well-known/jwks.json", include_in_schema=False)
    @router.get("/.well-known/jwks.json")
    def jwks() -> dict[str, Any]:
        """Return the public key of the webhooks' signatures; anyone may check them."""
        return services.signer.jwks()

    return router
