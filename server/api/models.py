"""What this server can do: the list of endpoints, and an OpenAPI document for each."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from server.api.errors import not_found
from server.endpoints import ENDPOINTS, Endpoint, find_endpoint
from server.settings import Settings
from wan_local.errors import WanLocalError
from wan_local.models.weights import find_checkpoint

_REFERENCE = "#/components/schemas/{model}"


class ModelEntry(BaseModel):
    """One endpoint, in the form of fal's platform API."""

    endpoint_id: str
    metadata: dict[str, str]
    """Display name, category and status: `active`, or `unavailable` without weights."""
    model: str
    """The model that it runs on."""
    problem: str | None
    """Why it is unavailable, with the command that helps."""


class ModelList(BaseModel):
    """Every endpoint there is; there is never a second page."""

    models: list[ModelEntry]
    has_more: bool = False
    next_cursor: str | None = None


def models_router(settings: Settings) -> APIRouter:
    """Return the routes of `/models` and of the OpenAPI document of each endpoint."""
    router = APIRouter(tags=["models"])

    @router.get("/models")
    @router.get("/v1/models", include_in_schema=False)
    def list_models(endpoint_id: str = "") -> ModelList:
        """Return every endpoint, or the one of this id, and whether its weights are here."""
        rows = [row for id, row in ENDPOINTS.items() if endpoint_id.lower() in {"", id}]
        return ModelList(models=[_entry(settings, row) for row in rows])

    @router.get("/api/openapi/queue/openapi.json")
    def openapi(request: Request, endpoint_id: str = "") -> dict[str, Any]:
        """Return the OpenAPI document of one endpoint, where fal has it."""
        endpoint = find_endpoint(endpoint_id)
        if endpoint is None:
            message = f"Application {endpoint_id!r} not found"
            raise not_found(message)
        return openapi_document(endpoint, request.scope["urls"].queue)

    return router


def _entry(settings: Settings, endpoint: Endpoint) -> ModelEntry:
    try:
        find_checkpoint(settings.weights_dir, endpoint.model)
        problem = None
    except WanLocalError as error:
        problem = str(error)
    return ModelEntry(
        endpoint_id=endpoint.id,
        metadata={
            "display_name": endpoint.title,
            "category": endpoint.category,
            "status": "active" if problem is None else "unavailable",
        },
        model=endpoint.model,
        problem=problem,
    )


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
