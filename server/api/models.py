"""What this server can do: the list of endpoints, and an OpenAPI document for each."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.api.errors import answer, not_found
from server.endpoints import ENDPOINTS, Endpoint, find_endpoint
from server.services import Services
from wan_local.errors import WanLocalError
from wan_local.models.weights import find_checkpoint

_REFERENCE = "#/components/schemas/{model}"


class Models:
    """The handlers of `/models` and of the OpenAPI documents."""

    def __init__(self, services: Services) -> None:
        self._settings = services.settings

    def routes(self) -> list[Route]:
        """Return the routes; the second spelling is the platform API's."""
        return [
            Route("/models", self.list),
            Route("/v1/models", self.list),
            Route("/api/openapi/queue/openapi.json", self.openapi),
        ]

    async def list(self, request: Request) -> Response:
        """Return every endpoint, and whether its weights are here."""
        wanted = request.query_params.get("endpoint_id", "").lower()
        rows = [row for id, row in ENDPOINTS.items() if wanted in {"", id}]
        models = await run_in_threadpool(lambda: [self._entry(row) for row in rows])
        return answer({"models": models, "has_more": False, "next_cursor": None})

    async def openapi(self, request: Request) -> Response:
        """Return the document of one endpoint."""
        id = request.query_params.get("endpoint_id", "")
        endpoint = find_endpoint(id)
        if endpoint is None:
            message = f"Application {id!r} not found"
            raise not_found(message)
        return answer(openapi_document(endpoint, request.scope["urls"].queue))

    def _entry(self, endpoint: Endpoint) -> dict[str, Any]:
        try:
            find_checkpoint(self._settings.weights_dir, endpoint.model)
            problem = None
        except WanLocalError as error:
            problem = str(error)
        return {
            "endpoint_id": endpoint.id,
            "metadata": {
                "display_name": endpoint.title,
                "category": "text-to-video",
                "status": "active" if problem is None else "unavailable",
            },
            "model": endpoint.model,
            "problem": problem,
        }


def openapi_document(endpoint: Endpoint, server: str) -> dict[str, Any]:
    """Return an OpenAPI 3.0 document with the paths that fal's own has.

    Args:
        endpoint: What it describes.
        server: Base of the queue's URLs.
    """
    app = "/".join(endpoint.id.split("/")[:2])
    job = f"/{app}/requests/{{request_id}}"
    status = {"200": _json("The request status.", "QueueStatus")}
    schemas = {
        "QueueStatus": _QUEUE_STATUS,
        **_schemas(endpoint.input),
        **_schemas(endpoint.output),
    }
    return {
        "openapi": "3.0.4",
        "info": {"title": f"Queue OpenAPI for {endpoint.id}", "version": "1.0.0"},
        "servers": [{"url": server}],
        "security": [{"apiKeyAuth": []}],
        "components": {
            "securitySchemes": {
                "apiKeyAuth": {"type": "apiKey", "in": "header", "name": "Authorization"}
            },
            "schemas": schemas,
        },
        "paths": {
            f"/{endpoint.id}": {"post": _submit(endpoint.input.__name__)},
            f"{job}/status": {"get": {"parameters": [_ID, _LOGS], "responses": status}},
            f"{job}/cancel": {"put": {"parameters": [_ID], "responses": _CANCELLED}},
            job: {
                "get": {
                    "parameters": [_ID],
                    "responses": {"200": _json("The result.", endpoint.output.__name__)},
                }
            },
        },
    }


def _schemas(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template=_REFERENCE)
    parts = schema.pop("$defs", {})
    return {name: _without_null(part) for name, part in {**parts, model.__name__: schema}.items()}


def _without_null(schema: Any) -> Any:
    """Return *schema* in OpenAPI 3.0, which has no type `null`: leaving a field out is the same."""
    if isinstance(schema, list):
        return [_without_null(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    rest = {name: _without_null(value) for name, value in schema.items() if name != "anyOf"}
    if rest.get("default", ...) is None:
        del rest["default"]
    choices = [_without_null(one) for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(choices) == 1:
        return {**rest, **choices[0]}
    return {**rest, "anyOf": choices} if choices else rest


def _submit(input: str) -> dict[str, Any]:
    body = {"required": True, "content": {"application/json": {"schema": _reference(input)}}}
    return {
        "requestBody": body,
        "responses": {"200": _json("The request status.", "QueueStatus")},
    }


def _json(description: str, model: str) -> dict[str, Any]:
    content = {"application/json": {"schema": _reference(model)}}
    return {"description": description, "content": content}


def _reference(model: str) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=model)}


_TEXT = {"type": "string"}
_ID = {"name": "request_id", "in": "path", "required": True, "schema": _TEXT}
_LOGS = {"name": "logs", "in": "query", "required": False, "schema": {"type": "number"}}
_CANCELLED = {"202": {"description": "The request will be cancelled."}}
_QUEUE_STATUS = {
    "type": "object",
    "required": ["status", "request_id"],
    "properties": {
        "status": {"type": "string", "enum": ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]},
        "request_id": _TEXT,
        "response_url": _TEXT,
        "status_url": _TEXT,
        "cancel_url": _TEXT,
        "logs": {"type": "array", "items": {"type": "object"}},
        "metrics": {"type": "object"},
        "queue_position": {"type": "integer"},
    },
}
