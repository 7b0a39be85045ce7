"""Which files an input refers to, and what a plan makes of them."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from server.media.lora_paths import lora_address
from server.media.sources import Need, Sources
from server.schemas.groups import Ended, Pictured
from server.schemas.loras import Adapted, LoRAWeight
from server.schemas.video import VideoToVideoInput
from wan_local.plan import LoraRef, SourceFile


def needs(wire: Any) -> tuple[Need, ...]:
    """Return the files that have to be here before the plan of *wire* can be made."""
    found = []
    if isinstance(wire, Pictured):
        found.append(Need(wire.image_url, "image", "image_url"))
    if isinstance(wire, Ended) and wire.end_image_url:
        found.append(Need(wire.end_image_url, "image", "end_image_url"))
    if isinstance(wire, VideoToVideoInput):
        found.append(Need(wire.video_url, "video", "video_url"))
    if isinstance(wire, Adapted):
        found += [
            Need(_address(lora), "lora", f"loras.{place}.path")
            for place, lora in enumerate(wire.loras)
        ]
    return tuple(found)


def lora_refs(wire: Any, sources: Sources) -> tuple[LoraRef, ...]:
    """Return the LoRAs that *wire* brings, in its order."""
    if not isinstance(wire, Adapted):
        return ()
    return tuple(
        LoraRef(
            name=_name(lora),
            scale=lora.scale,
            target=lora.transformer,
            file=sources[_address(lora)].file,
        )
        for lora in wire.loras
    )


def last_frame(wire: Any, sources: Sources) -> SourceFile | None:
    """Return the picture that a video ends with, if one was given."""
    if not isinstance(wire, Ended) or not wire.end_image_url:
        return None
    return sources[wire.end_image_url].file


def _address(lora: LoRAWeight) -> str:
    return lora_address(lora.path, lora.weight_name)


def _name(lora: LoRAWeight) -> str:
    """Return what to call it in the log; a URL may be as long as the file."""
    # Not by urlsplit, which raises where brackets are out of place: the fetcher refuses those.
    bare = re.split(r"[?#]", lora.path[:1000])[0]
    name = lora.weight_name or PurePosixPath(bare).name or "LoRA"
    return name[:80]
