"""What the operator wants files to be and to say: format, encoder, metadata, sidecars."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel

from server.settings import Settings
from wan_local.events import Finished
from wan_local.plan import VideoPlan

NAMING = {"modelVersionId", "type", "format", "size", "fp", "download"}
"""Parts of a query that say which file is meant, at Civitai and Hugging Face."""
REDACTED = "[redacted]"


def request_of(endpoint: str, wire: BaseModel) -> str:
    """Return the JSON of a request after its defaults, for the record of its file.

    A data URI would put the client's whole picture into every file: its hash stands for it. And
    files are handed on, so nothing that opens a door goes into one: of a URL's query only what
    names a file, and nothing of a user in it.
    """
    request = wire.model_dump(mode="json", exclude_none=True)
    return orjson.dumps({"endpoint": endpoint, "request": _recorded(request)}).decode()


def in_style(plan: VideoPlan, settings: Settings) -> VideoPlan:
    """Return *plan* with the operator's format, encoder and metadata policy.

    Without any use for it there is no record, which would have the weights hashed.
    """
    encoding = replace(
        plan.encoding,
        format=settings.video_format,
        encoder="nvenc" if settings.nvenc else "software",
    )
    unused = settings.metadata == "none" and settings.sidecar_dir is None
    record = plan.record and replace(plan.record, policy=settings.metadata)
    if unused:
        record = None
    return replace(plan, encoding=encoding, record=record)


def write_sidecar(path: Path, finished: Finished, *, sha256: str, size_bytes: int) -> None:
    """Write all that is known of a file into a JSON at *path*, timings included.

    They are here and not in the file, which would be another one at every run.
    """
    about = {
        **orjson.loads(finished.record or "{}"),
        "timings": finished.timings,
        "file": {
            "sha256": sha256,
            "size_bytes": size_bytes,
            "width": finished.size.width,
            "height": finished.size.height,
            "num_frames": finished.num_frames,
            "fps": finished.fps,
        },
    }
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(orjson.dumps(about, option=orjson.OPT_INDENT_2))
    part.replace(path)


def _recorded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _recorded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_recorded(inner) for inner in value]
    if isinstance(value, str) and value[:5].lower() == "data:":
        return f"sha256:{hashlib.sha256(value.encode()).hexdigest()}"
    if isinstance(value, str) and value.lower().startswith(("http://", "https://")):
        return _without_secrets(value)
    return value


def _without_secrets(url: str) -> str:
    head, mark, query = url.partition("?")
    scheme, _, rest = head.partition("://")
    host, slash, path = rest.partition("/")
    kept = [part for part in query.split("&") if part.partition("=")[0] in NAMING]
    left = "&".join(kept) if len(kept) == len(query.split("&")) else "&".join([*kept, REDACTED])
    host = host.rpartition("@")[2]
    return f"{scheme}://{host}{slash}{path}{mark}{left if mark else ''}"
