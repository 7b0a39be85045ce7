"""How a file was made: everything needed to make it again, in one JSON object.

Nothing in it differs between two runs of the same request on the same machine, timings above all,
so that the same request makes the same bytes again. Free of torch: the command line reads it too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from wan_local.plan import LoraRef, VideoPlan

SCHEMA = "wan-local/1"
Record = dict[str, Any]
_UNICODE = b"UNICODE\0"
"""What a comment in UTF-16 begins with (Exif 2.32, UserComment)."""


def make_record(
    plan: VideoPlan, components: Mapping[str, str], device: str, precision: Mapping[str, str]
) -> Record:
    """Return the record of *plan*.

    Args:
        plan: As it was carried out.
        components: SHA-256 of each component's weights, by its name.
        device: In words.
        precision: What the experts compute in, *dtype*, and how their linear weights are kept,
            *quantization*.
    """
    asked = json.loads(plan.record.request) if plan.record else {}
    return {
        "schema": SCHEMA,
        "version": version("wan-local"),
        **asked,
        "prompt": plan.prompt.text,
        "seed": plan.sampling.seed,
        "model": {"id": plan.model, "components": dict(components)},
        "loras": [_lora(lora) for lora in plan.loras],
        "encoding": asdict(plan.encoding),
        "device": device,
        "precision": dict(precision),
    }


def tags(record: Record, plan: VideoPlan) -> dict[str, str]:
    """Return what goes into the file, under the names that MP4 and PNG readers know.

    *minimal* names the software and the model and nothing of the request, whose prompt may be a
    client's secret.
    """
    if plan.record is None or plan.record.policy == "none":
        return {}
    if plan.record.policy == "minimal":
        said = {name: record[name] for name in ("schema", "version")}
        return {"comment": to_json(said | {"model": {"id": plan.model}})}
    return {"comment": to_json(record), "description": plan.prompt.text}


def to_json(record: Record) -> str:
    """Return *record* as one line; the same record is always the same line."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def from_json(text: str) -> Record | None:
    """Return the record that *text* is, or None if it is something else."""
    try:
        record = json.loads(text)
    except ValueError:
        return None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        return None
    return record


def to_user_comment(text: str) -> bytes:
    """Return *text* as Exif's UserComment holds it: a code of eight bytes, then two per letter."""
    return _UNICODE + text.encode("utf-16-be")


def from_user_comment(comment: bytes) -> str:
    """Return the text of Exif's UserComment; under another code it is taken for UTF-8."""
    code, text = comment[:8], comment[8:]
    return text.decode("utf-16-be" if code == _UNICODE else "utf-8", errors="replace")


def _lora(lora: LoraRef) -> Record:
    return {
        "name": lora.name,
        "scale": lora.scale,
        "target": lora.target,
        "sha256": lora.file.sha256 if lora.file else None,
    }
