"""How strong a PEFT adapter says it is, in the file's metadata or in a file beside it. No torch."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wan_local.errors import LoraRefused

METADATA_KEY = "lora_adapter_metadata"
"""Under which diffusers keeps the adapter's configuration, as JSON, in the file."""
FILE_NAME = "adapter_config.json"
"""What PEFT and diffusion-pipe write beside `adapter_model.safetensors`."""
MAX_CONFIG_BYTES = 2**20

_PLAIN_NAME = re.compile(r"[\w.\-]+")


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """PEFT's `lora_alpha` and what modifies it."""

    alpha: float
    alphas: Mapping[str, float] = field(default_factory=dict)
    """Exceptions, by the last words of a layer's name."""
    rank_stabilised: bool = False
    """Divide by the root of the rank (https://arxiv.org/abs/2312.03732)."""

    def scale(self, layer: str, rank: int) -> float:
        """Return what the product of *layer*'s two halves is multiplied with."""
        alpha = next(
            (value for name, value in self.alphas.items() if f".{layer}".endswith(f".{name}")),
            self.alpha,
        )
        return alpha / (math.sqrt(rank) if self.rank_stabilised else rank)


def adapter_config(metadata: Mapping[str, str], path: Path | None = None) -> AdapterConfig | None:
    """Return the configuration in *metadata*, or else in the file beside *path*, if there is one.

    Raises:
        LoraRefused: If it is there and cannot be followed.
    """
    if METADATA_KEY in metadata:
        return _read(metadata[METADATA_KEY], "its adapter metadata")
    beside = path.with_name(FILE_NAME) if path else None
    if beside is None or not beside.is_file():
        return None
    if beside.stat().st_size > MAX_CONFIG_BYTES:
        msg = f"{FILE_NAME} beside it is larger than {MAX_CONFIG_BYTES} bytes"
        raise LoraRefused(msg)
    return _read(beside.read_text(encoding="utf-8", errors="replace"), f"{FILE_NAME} beside it")


def _read(text: str, where: str) -> AdapterConfig | None:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"{where} is not valid JSON"
        raise LoraRefused(msg) from error
    if not isinstance(values, dict):
        msg = f"{where} is not a JSON object"
        raise LoraRefused(msg)
    # diffusers writes the component in front of each name: `transformer.lora_alpha`.
    values = {str(name).removeprefix("transformer."): value for name, value in values.items()}
    if "lora_alpha" not in values:
        return None
    return AdapterConfig(
        alpha=_number(values["lora_alpha"], where),
        alphas=_alphas(values.get("alpha_pattern") or {}, where),
        rank_stabilised=bool(values.get("use_rslora")),
    )


def _alphas(pattern: Any, where: str) -> dict[str, float]:
    if not isinstance(pattern, dict):
        msg = f"alpha_pattern in {where} is not a table"
        raise LoraRefused(msg)
    for name in pattern:
        # PEFT takes these for regular expressions; a stranger's are not run here.
        if not _PLAIN_NAME.fullmatch(name):
            msg = f"alpha_pattern in {where} has {name[:80]!r}, which is not a plain name"
            raise LoraRefused(msg)
    return {name: _number(value, where) for name, value in pattern.items()}


def _number(value: Any, where: str) -> float:
    number = math.nan
    # JSON's whole numbers have no end, and ours do.
    if isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            number = float(value)
    if not math.isfinite(number):
        msg = f"{where} gives {str(value)[:40]!r} where a number is needed"
        raise LoraRefused(msg)
    return number
