"""The form of log lines: plain for a terminal, JSON for a collector; never a secret in either.

A line names the request it belongs to, and the job where there is one:
`log.info("job %s: started", job.id, extra={"job": job.id})`.
"""

from __future__ import annotations

import logging
import re
import sys
from contextvars import ContextVar
from typing import Literal, TextIO

import orjson

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Of the HTTP request in hand; threads started for it inherit the value."""

# Keys are `Key id:secret`, upload passes `Bearer token`. Whatever follows the scheme goes.
_SECRET = re.compile(r"\b(key|bearer)(\s+)[\w.~+/=-]+:[\w.~+/=-]+|\b(bearer)(\s+)\S{16,}", re.I)

# A signed URL carries its credential in the query, and others in front of the host.
_USER = re.compile(r"\b(\w+://)[^/\s@]+@")
_QUERY = re.compile(r"\b(\w+://[^\s?#\"']+\?)[^\s\"']+")

Format = Literal["plain", "json"]


def redact(text: str) -> str:
    """Return *text* with credentials blotted out."""
    text = _SECRET.sub(lambda found: f"{found[1] or found[3]} [redacted]", text)
    return _QUERY.sub(r"\1[redacted]", _USER.sub(r"\1[redacted]@", text))


class PlainLines(logging.Formatter):
    """One readable line a record; a traceback follows on lines of its own."""

    default_msec_format = "%s.%03d"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, naming the request if there is one."""
        line = super().format(record)
        request = request_id.get()
        return redact(f"{line} [{request}]" if request and not record.exc_info else line)


class JsonLines(logging.Formatter):
    """One JSON object a record: nothing a client sends can begin a new line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object as one line."""
        entry = {
            "at": record.created,
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
            "request": request_id.get() or None,
            "job": getattr(record, "job", None),
            "stage": getattr(record, "stage", None),
        }
        if record.exc_info:
            entry["traceback"] = redact(self.formatException(record.exc_info))
        kept = {name: value for name, value in entry.items() if value is not None}
        return orjson.dumps(kept, default=str).decode()


def configure_logging(
    form: Format = "plain", level: str = "INFO", to: TextIO | None = None
) -> None:
    """Send every log line to *to* (standard error by default), in *form*.

    Args:
        form: `plain` or `json`.
        level: Least severe level to show, by its name.
        to: Where lines go.
    """
    handler = logging.StreamHandler(to or sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else PlainLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
