"""The pages about the server, which FastAPI validates and documents, and `/openapi.json`.

The calls that clients make by the thousand are plain Starlette routes in the other files; here is
what people and code generators read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from server.api.errors import Refused, answer_to
from server.api.models import models_router, openapi_document
from server.api.system import Describe, system_router
from server.endpoints import ENDPOINTS
from server.services import Services

DOCUMENT = "/openapi.json"


def site_routes(services: Services, slots: Describe) -> list[Route]:
    """Return a route to the site for each of its paths, and for no other."""
    # FastAPI's own pages for the document load their scripts from a CDN: blank without a network.
    site = FastAPI(title="wan-local", docs_url=None, redoc_url=None, redirect_slashes=False)
    routers = (models_router(services.settings), system_router(services, slots))
    for router in routers:
        site.include_router(router)
    site.openapi = _documented(site)  # type: ignore[method-assign] # FastAPI's documented way
    for error in (Refused, HTTPException):
        site.add_exception_handler(error, _answer)
    routes = [route for router in routers for route in router.routes if isinstance(route, Route)]
    # The two methods of one path are two routes of FastAPI's, and one here.
    return [Route(path, site) for path in dict.fromkeys([DOCUMENT, *(r.path for r in routes)])]


def whole_document(site: FastAPI) -> dict[str, Any]:
    """Return one OpenAPI document: the site's own routes, and every endpoint under `/queue`."""
    document = get_openapi(
        title=site.title, version=site.version, routes=site.routes, openapi_version="3.0.4"
    )
    for endpoint in ENDPOINTS.values():
        queue = openapi_document(endpoint, "")
        document["paths"] |= {f"/queue{path}": item for path, item in queue["paths"].items()}
        parts = document.setdefault("components", {})
        for kind, named in queue["components"].items():
            parts[kind] = {**parts.get(kind, {}), **named}
    return document


def _documented(site: FastAPI) -> Callable[[], dict[str, Any]]:
    return lambda: whole_document(site)


def _answer(request: Request, error: Exception) -> Response:
    return answer_to(error, request.url.path)
