"""Build small four-step LoRA pairs with random weights, named as the published ones are.

    python -m weights.small_loras [OUT]        # default: weights/random

`build_small.py` does this too. They are in lightx2v's layout and fit the small checkpoint's
experts, so that the turbo endpoints run in tests and demos. They have distilled nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

SEED = 20251217
RANK, ALPHA, STRENGTH = 4, 4.0, 0.05
WIDTH, FFN, BLOCKS = 48, 96, 2
"""Of the small experts (see `build_small.transformer`)."""

FILE = "wan2.2_{task}_A14b_{half}_noise_lora_rank64_lightx2v_4step_{date}.safetensors"
PAIRS = {
    f"wan2.2-{task}-a14b-4step/{FILE.format(task=task, half=half, date=date)}"
    for task, date in (("t2v", "1217"), ("i2v", "1022"))
    for half in ("high", "low")
}


def build_loras(out: Path) -> None:
    """Write the pairs to *out*/loras."""
    generator = torch.Generator().manual_seed(SEED)
    for name in sorted(PAIRS):
        path = out / "loras" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(lora(generator), path)


def lora(generator: torch.Generator) -> dict[str, Tensor]:
    """Return the tensors of one file, for all linear layers of the blocks."""
    sides = {f"{part}_attn.{q}": (WIDTH, WIDTH) for part in ("self", "cross") for q in "qkvo"}
    sides |= {"ffn.0": (FFN, WIDTH), "ffn.2": (WIDTH, FFN)}
    tensors = {}
    for block in range(BLOCKS):
        for layer, (rows, columns) in sides.items():
            stem = f"diffusion_model.blocks.{block}.{layer}"
            down = torch.randn(RANK, columns, generator=generator) * STRENGTH
            up = torch.randn(rows, RANK, generator=generator) * STRENGTH
            tensors |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}
            tensors[f"{stem}.alpha"] = torch.tensor(ALPHA)
    return tensors


if __name__ == "__main__":
    build_loras(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "random")
