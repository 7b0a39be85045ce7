"""LoRA files without torch: a header and zeros."""

from __future__ import annotations

import json
import math
from pathlib import Path

PAIR = {
    "diffusion_model.blocks.0.self_attn.q.lora_A.weight": [4, 48],
    "diffusion_model.blocks.0.self_attn.q.lora_B.weight": [48, 4],
}


def a_lora(path: Path, shapes: dict[str, list[int]] = PAIR) -> Path:
    """Write a LoRA for one layer of the small checkpoint to *path*, and return it."""
    entries, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * math.prod(shape)
        entries[name] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}
    raw = json.dumps(entries).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(end))
    return path
