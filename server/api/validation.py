"""Request body -> validated input, or the 422 that says in fal's words what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from server.api.errors import Refused
from server.reporting import ERROR_URL

Input = TypeVar("Input", bound=BaseModel)

MOST_ERRORS = 20
LONGEST_ECHO = 1000
"""Bytes of JSON up to which an offending value is quoted."""

# pydantic's name -> fal's. Those that are not here are spelled the same, or are pydantic's own,
# which fal returns too for what it has no name of.
_TYPES = {
    "literal_error": "one_of",
    "enum": "one_of",
    "string_too_long": "sequence_too_long",
    "too_long": "sequence_too_long",
    "string_too_short": "sequence_too_short",
    "too_short": "sequence_too_short",
}
# fal's name -> what its `ctx` holds.
_CONTEXT = {
    "greater_than": ("gt",),
    "greater_than_equal": ("ge",),
    "less_than": ("lt",),
    "less_than_equal": ("le",),
    "multiple_of": ("multiple_of",),
    "sequence_too_long": ("max_length",),
    "sequence_too_short": ("min_length",),
    "one_of": ("expected",),
}
_QUOTED = re.compile(r"'([^']*)'")


def parse_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in *raw*; no body at all is an empty one, as JavaScript sends it.

    orjson is strict: no NaN, no infinities, no lone surrogates, no byte order mark, UTF-8 only, and
    at most 1024 levels deep.

    Raises:
        Refused: 422 if it is anything else.
    """
    if not raw:
        return {}
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise invalid((error.pos,), "json_invalid", f"JSON decode error: {error.msg}") from None
    if not isinstance(value, dict):
        raise invalid((), "dict_type", "Input should be a valid dictionary")
    return value


def validate(schema: type[Input], body: Mapping[str, Any]) -> Input:
    """Return *body* as a *schema*.

    Raises:
        Refused: 422 in fal's shape if it does not fit.
    """
    try:
        return schema.model_validate(body)
    except ValidationError as error:
        details = [_detail(entry) for entry in error.errors(include_url=False)[:MOST_ERRORS]]
        raise Refused(422, {"detail": details}) from None


def invalid(loc: tuple[str | int, ...], type: str, message: str) -> Refused:
    """Return a 422 with one entry, about the place *loc* in the body."""
    entry = {"loc": ["body", *loc], "msg": message, "type": type, "url": ERROR_URL + type}
    return Refused(422, {"detail": [entry]})


def _detail(error: ErrorDetails) -> dict[str, Any]:
    type = _TYPES.get(error["type"], error["type"])
    detail: dict[str, Any] = {
        "loc": ["body", *error["loc"]],
        "msg": error["msg"],
        "type": type,
        "url": ERROR_URL + type,
    }
    if context := _context(type, error.get("ctx", {})):
        detail["ctx"] = context
    if _can_be_quoted(error["input"]):
        detail["input"] = error["input"]
    return detail


def _context(type: str, given: Mapping[str, Any]) -> dict[str, Any]:
    context = {name: given[name] for name in _CONTEXT.get(type, ()) if name in given}
    if "expected" in context:
        # pydantic says "'480p', '580p' or '720p'"; fal says ["480p", "580p", "720p"].
        context["expected"] = _QUOTED.findall(context["expected"])
    return context


def _can_be_quoted(value: Any) -> bool:
    if isinstance(value, str | list | dict) and len(value) > LONGEST_ECHO:
        return False
    try:
        return len(orjson.dumps(value)) <= LONGEST_ECHO
    except orjson.JSONEncodeError:
        return False
