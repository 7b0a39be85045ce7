"""What the tests of this folder build their files and models from."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.wan_local.models.loras.by_hand import BLOCK, LINEAR, WIDTH, Lora, pairs

# The small checkpoint's expert: every weight by diffusers' name.
MODEL = {
    **{f"{theirs}.weight": (rows, columns) for theirs, rows, columns in LINEAR.values()},
    **{f"{theirs}.bias": (rows,) for theirs, rows, _ in LINEAR.values()},
    "patch_embedding.weight": (WIDTH, 16, 1, 2, 2),
    "patch_embedding.bias": (WIDTH,),
    "scale_shift_table": (1, 2, WIDTH),
    **{f"blocks.{i}.scale_shift_table": (1, 6, WIDTH) for i in range(2)},
    **{f"blocks.{i}.norm2.{leaf}": (WIDTH,) for i in range(2) for leaf in ("weight", "bias")},
    **{
        f"blocks.{i}.attn{n}.norm_{q}.weight": (WIDTH,)
        for i in range(2)
        for n in (1, 2)
        for q in "qk"
    },
}


def written(lora: Lora, folder: Path, name: str = "adapter_model.safetensors") -> Path:
    """Write *lora* to *folder* and return its path."""
    path = folder / name
    save_file({key: part.contiguous() for key, part in lora.file.items()}, path, lora.metadata)
    if lora.beside is not None:
        (folder / "adapter_config.json").write_text(json.dumps(lora.beside))
    return path


def shapes_of(lora: Lora) -> dict[str, tuple[int, ...]]:
    """Return what a file's header says of *lora*."""
    return {key: tuple(part.shape) for key, part in lora.file.items()}


def of_width(width: int) -> dict[str, tuple[int, ...]]:
    """Return a LoRA's shapes for a model of this width, two layers of it."""
    return {
        f"diffusion_model.blocks.{i}.self_attn.q.lora_{half}.weight": shape
        for i in range(2)
        for half, shape in (("A", (4, width)), ("B", (width, 4)))
    }


def a_module() -> torch.nn.Module:
    """Return two layers with names of a Wan model."""
    torch.manual_seed(0)
    block = torch.nn.ModuleDict({"attn1": torch.nn.ModuleDict({"to_q": torch.nn.Linear(48, 48)})})
    return torch.nn.ModuleDict({"blocks": torch.nn.ModuleList([block])}).requires_grad_(False)


def first_layer(**changes) -> Lora:
    """Return a LoRA for the one layer of `a_module`."""
    own = "blocks.0.self_attn.q"
    return pairs({own: BLOCK[own]}, prefix="diffusion_model.", **changes)
