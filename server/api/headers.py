"""What a client asks of the platform, in headers and query: priority, deadlines, lifetimes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson
from starlette.datastructures import Headers, QueryParams

from server.api.errors import Refused, bad_request
from server.jobs.model import Priority

SHORTEST_DEADLINE = 0.1  # seconds; the hosted platform's minimum
LONGEST_URL = 2048
LONGEST_KEY = 255
MOST_STEPS = 1000  # between two previews
_YES = {"1", "true", "yes"}
_NO = {"0", "false", "no", ""}
_PRIORITIES = {"normal": Priority.NORMAL, "low": Priority.LOW}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What was asked of the platform for one job."""

    priority: int
    retry: bool
    start_within: float | None
    """Seconds until it must have started."""
    output_ttl: float | None
    """Seconds to keep the output."""
    idempotency_key: str | None
    webhook: str | None
    preview_every: int | None
    """Steps from one preview to the next; None leaves it to the server's setting."""
    max_queue_length: int | None
    """Refuse the job if more than so many wait."""


def read_wishes(headers: Headers, query: QueryParams) -> Wishes:
    """Return what *headers* and *query* ask for.

    `X-Fal-Store-IO`, `X-Fal-Runner-Hint`, `X-Fal-Retry-Config` and whatever else begins with
    `x-fal-` or `x-app-fal-` are accepted and change nothing here.

    Raises:
        Refused: 400 `bad_request` if one of them is malformed.
    """
    return Wishes(
        priority=_priority(headers.get("x-fal-queue-priority")),
        retry=not _flag("X-Fal-No-Retry", headers.get("x-fal-no-retry", "")),
        start_within=_start_within(headers),
        output_ttl=lifetime(headers, "x-fal-object-lifecycle-preference"),
        idempotency_key=_idempotency_key(headers),
        webhook=_webhook(query.get("fal_webhook")),
        preview_every=_preview_every(headers.get("x-wan-preview")),
        max_queue_length=_queue_length(query.get("fal_max_queue_length")),
    )


def lifetime(headers: Headers, *names: str) -> float | None:
    """Return the seconds to keep a file, from the first of the headers *names* that is there.

    Raises:
        Refused: If it is not a JSON object with a positive `expiration_duration_seconds`.
    """
    name, text = next(((name, headers[name]) for name in names if name in headers), ("", ""))
    if not text:
        return None
    try:
        preference = orjson.loads(text)
    except ValueError:
        preference = None
    if not isinstance(preference, Mapping):
        msg = f"{name} must be a JSON object"
        raise bad_request(msg)
    seconds = preference.get("expiration_duration_seconds")
    if seconds is None:
        return None
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not 0 < seconds < math.inf:
        msg = f"{name}: expiration_duration_seconds must be a positive number"
        raise bad_request(msg)
    return float(seconds)


def _priority(value: str | None) -> int:
    known = _PRIORITIES.get((value or "normal").lower())
    if known is None:
        msg = "X-Fal-Queue-Priority must be normal or low"
        raise bad_request(msg)
    return known


def _flag(name: str, value: str) -> bool:
    word = value.strip().lower()
    if word not in _YES | _NO:
        msg = f"{name} must be 1, true, yes, 0, false or no"
        raise bad_request(msg)
    return word in _YES


def _start_within(headers: Headers) -> float | None:
    for name in ("X-Fal-Request-Start-Timeout", "X-Fal-Request-Timeout"):
        if name in headers:
            return _seconds(name, headers[name])
    return None


def _seconds(name: str, value: str) -> float:
    refusal: Refused = bad_request(f"{name} must be a number of seconds above {SHORTEST_DEADLINE}")
    try:
        seconds = float(value)
    except ValueError:
        raise refusal from None
    if not SHORTEST_DEADLINE < seconds < math.inf:
        raise refusal
    return seconds


def _idempotency_key(headers: Headers) -> str | None:
    key = headers.get("idempotency-key") or headers.get("x-idempotency-key")
    if key is not None and (len(key) > LONGEST_KEY or not key.isprintable()):
        msg = f"Idempotency-Key must be at most {LONGEST_KEY} printable characters"
        raise bad_request(msg)
    return key


def _webhook(url: str | None) -> str | None:
    if not url:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or len(url) > LONGEST_URL or not url.isprintable():
        msg = f"fal_webhook must be an http or https URL, at most {LONGEST_URL} long"
        raise bad_request(msg)
    return url


def _preview_every(value: str | None) -> int | None:
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 4 and int(value) <= MOST_STEPS):
        msg = f"X-Wan-Preview must be a number of steps, 0 (no previews) to {MOST_STEPS}"
        raise bad_request(msg)
    return int(value)


def _queue_length(value: str | None) -> int | None:
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        msg = "fal_max_queue_length must be a whole number"
        raise bad_request(msg)
    return int(value)
