"""Which family of Wan models a file is for, told from the width of its layers. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping

from wan_local.errors import LoraRefused
from wan_local.models.loras.shapes import WHOLE, Shape, matrix, whole_parts

FAMILIES = {5120: "Wan 14B", 3072: "Wan 2.2 TI2V-5B", 1536: "Wan 2.1 1.3B"}
"""By inner dimension."""

# The layers whose inputs are as wide as the model.
_WIDE = re.compile(
    r"blocks[._]\d+[._](?:(?:self_attn|cross_attn)[._][qkvo]|ffn[._]0"
    r"|attn[12][._]to_(?:q|k|v|out[._]0)|ffn[._]net[._]0[._]proj)"
)


def require_family(
    groups: Mapping[str, tuple[Mapping[str, str], Mapping[str, Shape]]], model: Mapping[str, Shape]
) -> None:
    """Refuse a file whose layers are all as wide as another model.

    Args:
        groups: Name of a layer -> (part -> key, key -> shape).
        model: Weight -> shape.

    Raises:
        LoraRefused: If they are; the sentence names both families.
    """
    inner = model["blocks.0.attn1.to_q.weight"][1]
    widths = {
        matrix(kind, {part: file[key] for part, key in keys.items()})[1]
        for stem, (keys, file) in groups.items()
        if _WIDE.fullmatch(stem)
        for kind in WHOLE
        if whole_parts(kind, keys)
    }
    if len(widths) == 1 and inner not in widths:
        msg = f"it is for {_family(widths.pop())}, and the model is {_family(inner)}"
        raise LoraRefused(msg)


def _family(inner: int) -> str:
    name = FAMILIES.get(inner)
    return f"{name} (inner dimension {inner})" if name else f"a model of inner dimension {inner}"
