"""Put a LoRA on an expert and take it off again, ours beside diffusers' load, fuse and unfuse.

    pip install peft
    python -m benchmarks.lora_switch [--pairs N]

Twice: on the small checkpoint's expert, where the bookkeeping is all there is, and on one block of
Wan 2.2 A14B's size in bfloat16 with a LoRA of rank 64, where it is the arithmetic. The two sides
take turns within a pair. `from file` reads the LoRA anew, `from memory` has it in host memory.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from diffusers import WanPipeline, WanTransformer3DModel
from diffusers.utils import logging as diffusers_logging
from safetensors.torch import load_file, save_file

from benchmarks.lora_layouts import SMALL, weights_of
from benchmarks.recording import machine, record
from wan_local.models.loras.adapter import Adapter, read_adapter
from wan_local.models.loras.applying import Weighted, applied

BLOCK: dict[str, Any] = SMALL | {
    "num_attention_heads": 40,
    "attention_head_dim": 128,
    "text_dim": 4096,
    "freq_dim": 256,
    "ffn_dim": 13824,
    "num_layers": 1,
}
CASES = {
    "small": (SMALL, torch.float32, 4),
    "one block of A14B": (BLOCK, torch.bfloat16, 64),
}


def an_expert(settings: dict[str, Any], dtype: torch.dtype) -> WanTransformer3DModel:
    """Return an expert with random weights."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return WanTransformer3DModel(**settings).requires_grad_(requires_grad=False)
    finally:
        torch.set_default_dtype(before)


def a_lora(expert: WanTransformer3DModel, path: Path, rank: int) -> None:
    """Write a LoRA for every linear layer of the blocks, in the layout of diffusers."""
    tensors = {}
    for name, module in expert.named_modules():
        if name.startswith("blocks.") and isinstance(module, torch.nn.Linear):
            down = torch.randn(rank, module.in_features) / rank
            up = torch.randn(module.out_features, rank) / rank
            tensors[f"transformer.{name}.lora_A.weight"] = down.to(torch.bfloat16)
            tensors[f"transformer.{name}.lora_B.weight"] = up.to(torch.bfloat16)
    save_file(tensors, path)


def ours(expert: WanTransformer3DModel, path: Path, kept: Adapter | None) -> dict[str, float]:
    """Apply and undo, and return the seconds of each."""
    began = time.perf_counter()
    shapes = {name: tuple(weight.shape) for name, weight in expert.named_parameters()}
    adapter = kept or read_adapter(path, shapes)
    lora = Weighted(adapter, 1.0, frozenset({"high"}))
    with applied(expert, [lora], expert="high", originals={}):
        on = time.perf_counter()
    return {"on": on - began, "off": time.perf_counter() - on}


def theirs(
    expert: WanTransformer3DModel, path: Path, kept: dict[str, torch.Tensor] | None
) -> dict[str, float]:
    """The same with diffusers."""
    pipeline = WanPipeline(
        tokenizer=None, text_encoder=None, vae=None, scheduler=None, transformer=expert
    )
    began = time.perf_counter()
    # A copy of the table: loading changes it.
    pipeline.load_lora_weights(str(path) if kept is None else dict(kept), adapter_name="a")
    pipeline.fuse_lora(components=["transformer"])
    on = time.perf_counter()
    pipeline.unfuse_lora(components=["transformer"])
    pipeline.unload_lora_weights()
    return {"on": on - began, "off": time.perf_counter() - on}


def measure(name: str, pairs: int) -> dict[str, Any]:
    """Measure one case."""
    settings, dtype, rank = CASES[name]
    expert = an_expert(settings, dtype)
    before = weights_of(expert)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lora.safetensors"
        a_lora(expert, path, rank)
        shapes = {weight: tuple(tensor.shape) for weight, tensor in before.items()}
        adapter, table = read_adapter(path, shapes), load_file(path)
        ours(expert, path, None)  # once unmeasured: the file's pages are read from disk
        exact = all(torch.equal(before[key], w) for key, w in expert.named_parameters())
        rows: list[dict[str, float]] = []
        for number in range(pairs):
            sides = [
                ("ours from file", lambda: ours(expert, path, None)),
                ("ours from memory", lambda: ours(expert, path, adapter)),
                ("diffusers from file", lambda: theirs(expert, path, None)),
                ("diffusers from memory", lambda: theirs(expert, path, table)),
            ]
            row = {}
            for side, run in sides if number % 2 == 0 else sides[::-1]:
                took = run()
                row |= {f"{side}, on": took["on"], f"{side}, off": took["off"]}
            rows.append(row)
    after = dict(expert.named_parameters())
    changed = sum(int((before[key] != after[key]).sum()) for key in before)
    return summary(rows) | {
        "lora_mb": adapter.size / 1e6,
        "weights_changed": len(adapter.changes),
        "ours_restores_every_bit": exact,
        "elements_changed_by_diffusers_percent": 100
        * changed
        / sum(weight.numel() for weight in before.values()),
    }


def summary(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Return medians, and ratios within pairs: diffusers over ours."""
    numbers: dict[str, Any] = {
        "seconds": {key: median(row[key] for row in rows) for key in rows[0]}
    }
    for start in ("from file", "from memory"):
        ratios = sorted(
            (row[f"diffusers {start}, on"] + row[f"diffusers {start}, off"])
            / (row[f"ours {start}, on"] + row[f"ours {start}, off"])
            for row in rows
        )
        numbers[f"ratio {start}"] = {
            "median": median(ratios),
            "lowest": ratios[0],
            "highest": ratios[-1],
        }
    return numbers


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    on = machine()
    diffusers_logging.set_verbosity_error()
    versions = {name: importlib.metadata.version(name) for name in ("torch", "diffusers", "peft")}
    cases = {}
    for name in CASES:
        cases[name] = measure(name, options.pairs)
        print(f"{name}:", file=sys.stderr)
        for key, value in cases[name].items():
            print(f"  {key}: {value}", file=sys.stderr)
    numbers = {"versions": versions, "threads": torch.get_num_threads(), "cases": cases}
    print(f"written to {record('lora-switch', on, numbers)}")


if __name__ == "__main__":
    main()
