"""LoRAs in training: small changes of a frozen expert, and the files they are written to.

To write another layout, add a row to LAYOUTS; what it means is settled by the project's own reader
(`wan_local/models/loras`), against which `tests/weights/train/test_loras.py` holds every row.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.func import functional_call

from wan_local.models.loras.names import original_name
from weights.train.styles import Layout

_TAUGHT = re.compile(r"blocks\.\d+\.(attn[12]\.to_(q|k|v|out\.0)|ffn\.net\.(0\.proj|2))\.weight")
"""What trainers change by default: the linear layers of the blocks."""

MATRIX_RATE = 0.004
"""Muon's, for the halves of pairs. At 0.02, which is right for whole matrices, the loss of a
distillation on six shards rose from 0.11 to 0.18 between steps 40 and 120; at 0.005 it went from
0.17 by 0.094 to 0.109. This one was chosen below both and not run."""


@dataclass(frozen=True, slots=True)
class Keys:
    """How a layout names what it holds."""

    stem: Callable[[str], str]
    """diffusers' name of a layer -> how its keys begin."""
    down: str
    up: str
    alpha: bool
    """Whether each pair's strength stands beside it; or it is in the numbers."""


LAYOUTS: dict[Layout, Keys] = {
    "lightx2v": Keys(
        lambda name: f"diffusion_model.{original_name(name)}",
        ".lora_down.weight",
        ".lora_up.weight",
        alpha=True,
    ),
    "diffusers": Keys(
        lambda name: f"transformer.{name}", ".lora_A.weight", ".lora_B.weight", alpha=False
    ),
    "musubi": Keys(
        lambda name: f"lora_unet_{original_name(name).replace('.', '_')}",
        ".lora_down.weight",
        ".lora_up.weight",
        alpha=True,
    ),
}


class Lora(nn.Module):
    """A change of an expert that begins as none.

    Args:
        expert: Whose weights' names and shapes it is for; it is not kept.
        rank: Of the pairs.
        whole: Change everything, as the distilled pairs do: each linear layer by a pair, and each
            bias, norm, modulation table and the patch embedding by a difference of its own size.
    """

    def __init__(self, expert: nn.Module, *, rank: int, whole: bool = False) -> None:
        super().__init__()
        self.alpha = float(rank)
        self.down, self.up, self.diff = nn.ParameterDict(), nn.ParameterDict(), nn.ParameterDict()
        for name, weight in expert.named_parameters():
            key = name.replace(".", "/")  # a ParameterDict takes no dots
            if weight.ndim == 2 and (whole or _TAUGHT.fullmatch(name)):
                rows, columns = weight.shape
                self.down[key] = nn.Parameter(torch.randn(rank, columns) / columns**0.5)
                self.up[key] = nn.Parameter(torch.zeros(rows, rank))
            elif whole:
                self.diff[key] = nn.Parameter(torch.zeros_like(weight, dtype=torch.float32))

    def on(self, expert: nn.Module) -> Callable[..., Any]:
        """Return *expert* as it is with this change, to be called as it is.

        The products are made here, once, and outside of autocast: to the float32 they are when the
        written file is applied.
        """
        frozen = dict(expert.named_parameters())
        changed = {}
        for key, down in self.down.items():
            name = key.replace("/", ".")
            changed[name] = frozen[name] + self.up[key] @ down
        for key, diff in self.diff.items():
            name = key.replace("/", ".")
            changed[name] = frozen[name] + diff

        def call(*args: Any, **named: Any) -> Any:
            return functional_call(expert, changed, args, named)

        return call

    @torch.no_grad()
    def save(self, path: Path, layout: Layout) -> None:
        """Write the change to *path* in *layout*, in half precision."""
        keys, tensors = LAYOUTS[layout], dict[str, Tensor]()
        for key, down in self.down.items():
            stem = keys.stem(key.replace("/", ".").removesuffix(".weight"))
            tensors |= {stem + keys.down: down.half(), stem + keys.up: self.up[key].half()}
            if keys.alpha:
                tensors[f"{stem}.alpha"] = torch.tensor(self.alpha)
        for key, diff in self.diff.items():
            tensors[_difference(keys, key.replace("/", "."))] = diff.half()
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def _difference(keys: Keys, name: str) -> str:
    """Return the key of a difference of the parameter that diffusers calls *name*."""
    owner, _, leaf = name.rpartition(".")
    if leaf == "scale_shift_table":
        return keys.stem(name).rpartition(".")[0] + ".diff_m"
    return keys.stem(owner) + (".diff_b" if leaf == "bias" else ".diff")
