"""A request as it is typed: fields on the command line, a body in a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import typer
from pydantic import BaseModel, ValidationError

from server.cli.exits import Exit, give_up
from server.endpoints import Endpoint

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}
"""What the ending of an output says about an image."""


def read_body(path: Path | None) -> dict[str, Any]:
    """Return the body in the file at *path*, or on stdin for `-`; none is an empty one."""
    if path is None:
        return {}
    try:
        text = typer.get_binary_stream("stdin").read() if str(path) == "-" else path.read_bytes()
        body = orjson.loads(text)
    except (OSError, orjson.JSONDecodeError) as error:
        give_up(Exit.USAGE, f"--input {path}: {error}")
    if not isinstance(body, dict):
        give_up(Exit.USAGE, f"--input {path}: not a JSON object")
    return body


def read_fields(fields: Iterable[str]) -> dict[str, Any]:
    """Return `name=value` pairs as a body; a value that is JSON is taken as JSON."""
    body: dict[str, Any] = {}
    for field in fields:
        name, equals, value = field.partition("=")
        if not equals:
            give_up(Exit.USAGE, f"-i {field}: write it as name=value")
        try:
            body[name] = orjson.loads(value)
        except orjson.JSONDecodeError:
            body[name] = value
    return body


def with_format(endpoint: Endpoint, body: dict[str, Any], output: Path | None) -> dict[str, Any]:
    """Return *body* with the image format that the name of *output* means, unless it has one."""
    format = FORMATS.get(output.suffix.lower()) if output else None
    if format is None or "image_format" not in endpoint.input.model_fields:
        return body
    return {"image_format": format} | body


def parse(endpoint: Endpoint, body: dict[str, Any]) -> BaseModel:
    """Return *body* as the input of *endpoint*, or end the command with what is wrong with it."""
    unknown = sorted(set(body) - set(endpoint.input.model_fields))
    if unknown:
        # The server ignores unknown fields, as clients send many. A typist means them.
        known = ", ".join(endpoint.input.model_fields)
        give_up(Exit.USAGE, f"unknown: {', '.join(unknown)}; fields: {known}")
    try:
        return endpoint.input.model_validate(body)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        give_up(Exit.USAGE, "; ".join(lines))
