"""Apply a LoRA of every layout, beside diffusers' loader, against weights merged by hand.

    python -m benchmarks.lora_layouts        # the column of diffusers needs `pip install peft`

The files are those of the tests (tests/wan_local/models/loras/layouts.py): written as each trainer
writes them, with random numbers, for the small checkpoint's experts.

Writes benchmarks/results/<date>-lora-layouts-<cpu>.json and, as a table, the same with `.md`.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from diffusers import WanPipeline, WanTransformer3DModel
from diffusers.utils import logging as diffusers_logging
from safetensors.torch import save_file
from torch import nn

from benchmarks.recording import ROOT, machine, record
from tests.wan_local.models.loras.by_hand import Lora
from tests.wan_local.models.loras.layouts import LAYOUTS
from wan_local.models.loras.adapter import read_adapter
from wan_local.models.loras.applying import Weighted, applied

HEADINGS = ("layout", "keys applied", "left out, and why", "error", "diffusers")
BOTH = frozenset({"high", "low"})
TOLERANCE = 1e-5
# The small checkpoint's experts, as weights/build_small.py makes them.
SMALL: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 24,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": 32,
    "freq_dim": 32,
    "ffn_dim": 96,
    "num_layers": 2,
    "cross_attn_norm": True,
    "rope_max_seq_len": 128,
}


def weights_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of each weight."""
    return {name: weight.detach().clone() for name, weight in module.named_parameters()}


def largest_error(
    base: dict[str, torch.Tensor],
    found: dict[str, torch.Tensor],
    truth: dict[str, torch.Tensor],
) -> float:
    """Return the largest distance of a weight from what it should be."""
    return max(
        float((found[name].double() - weight.double() - truth.get(name, 0)).abs().max())
        for name, weight in base.items()
    )


def written(lora: Lora, folder: Path) -> Path:
    """Write *lora* to a folder of its own."""
    path = folder / "adapter_model.safetensors"
    save_file({key: part.contiguous() for key, part in lora.file.items()}, path, lora.metadata)
    if lora.beside is not None:
        (folder / "adapter_config.json").write_text(json.dumps(lora.beside))
    return path


def by_us(expert: nn.Module, lora: Lora, path: Path) -> dict[str, Any]:
    """Apply *lora* to both experts and return keys and the larger error of the two."""
    base = weights_of(expert)
    adapter = read_adapter(path, {name: tuple(weight.shape) for name, weight in base.items()})
    errors = []
    for name, truth in (("high", lora.high), ("low", lora.low)):
        used = Weighted(adapter, 1.0, BOTH)
        with applied(expert, [used], expert=name, originals={}):  # type: ignore[arg-type]
            errors.append(largest_error(base, weights_of(expert), truth))
        restored = weights_of(expert)
        if any(not torch.equal(base[key], restored[key]) for key in base):
            msg = "the weights were not restored"
            raise RuntimeError(msg)
    return {
        "keys": adapter.coverage.applied,
        "total": adapter.coverage.total,
        "left_out": dict(adapter.coverage.dropped),
        "error": max(errors),
    }


def by_diffusers(expert: WanTransformer3DModel, lora: Lora, path: Path) -> str:
    """Load *lora* into the high-noise expert with diffusers and say what came of it."""
    base = weights_of(expert)
    pipeline = WanPipeline(
        tokenizer=None, text_encoder=None, vae=None, scheduler=None, transformer=expert
    )
    try:
        with contextlib.redirect_stderr(None), warnings.catch_warnings(action="ignore"):
            pipeline.load_lora_weights(str(path), adapter_name="a")
            pipeline.fuse_lora(components=["transformer"])
            pipeline.unload_lora_weights()
    except Exception as error:  # noqa: BLE001 - whatever it raises is the result
        return f"raises {type(error).__name__}"
    error = largest_error(base, weights_of(expert), lora.high)
    if error <= TOLERANCE:
        return "as by hand"
    changed = largest_error(base, weights_of(expert), {}) > 0
    return f"wrong by {error:.2g}" if changed else "changes nothing"


def fresh() -> WanTransformer3DModel:
    """Return a small expert, the same each time."""
    torch.manual_seed(0)
    return WanTransformer3DModel(**SMALL).requires_grad_(requires_grad=False)


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Return *rows* as a table in Markdown."""
    lines = [f"| {' | '.join(HEADINGS)} |", "|---|--:|---|--:|---|"]
    for layout, row in rows.items():
        left_out = "; ".join(f"{number}: {why}" for why, number in row["left_out"].items())
        cells = (f"{row['keys']} of {row['total']}", left_out, f"{row['error']:.1e}")
        lines.append(f"| {' | '.join((layout, *cells, row['diffusers']))} |")
    return "\n".join(lines)


def write_table(
    path: Path, on: dict[str, Any], rows: dict[str, dict[str, Any]], *, with_peft: bool
) -> None:
    """Write *rows* as Markdown beside the JSON at *path*, with what they were measured on."""
    packages = ("torch", "diffusers", "peft") if with_peft else ("torch", "diffusers")
    releases = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    text = (
        f"{table(rows)}\n\nThe largest error of any weight of either expert, in float32, against "
        f"weights merged by hand in float64; the last column is what diffusers' loader does with "
        f"the file, `as by hand` up to {TOLERANCE:.0e}.\n"
        f"{releases}; {on['cpu']}; commit {on['commit']}.\n"
    )
    (ROOT / path).with_suffix(".md").write_text(text)


def main() -> None:
    """Print the table and write it."""
    on = machine()
    diffusers_logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    with_peft = importlib.util.find_spec("peft") is not None
    rows: dict[str, dict[str, Any]] = {}
    for layout, make in LAYOUTS.items():
        with tempfile.TemporaryDirectory() as folder:
            expert = fresh()
            lora = make(weights_of(expert))
            path = written(lora, Path(folder))
            rows[layout] = by_us(expert, lora, path)
            theirs = by_diffusers(fresh(), lora, path) if with_peft else "peft is not installed"
            rows[layout]["diffusers"] = theirs
        row = rows[layout]
        print(
            f"{layout:54}{row['keys']:>4}/{row['total']:<5}{row['error']:9.1e}  {row['diffusers']}"
        )
    numbers = {
        "layouts": rows,
        "largest_error": max(row["error"] for row in rows.values()),
        "as_by_hand": sum(row["error"] <= TOLERANCE for row in rows.values()),
        "as_by_hand_by_diffusers": sum(row["diffusers"] == "as by hand" for row in rows.values()),
        "of": len(rows),
    }
    print({name: value for name, value in numbers.items() if name != "layouts"})
    path = record("lora-layouts", on, numbers)
    write_table(path, on, rows, with_peft=with_peft)
    print(f"written to {path}, and as a table beside it")


if __name__ == "__main__":
    main()
