"""An expert's files -> an expert of 8 bits, which is never in memory at its full size.

diffusers loads a module whole, and could only be followed by a rounding of it: the host would need
the 28.6 GB that the operator wants to save. Here each tensor is read, rounded and forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights  # type: ignore[import-untyped]
from diffusers import WanTransformer3DModel
from safetensors import safe_open
from torch import Tensor, nn

from wan_local.catalog import Quantization
from wan_local.models.quantize import FORMATS, QuantizedLinear, quantize, quantized
from wan_local.models.weights import COMPONENTS, weight_files

Report = dict[str, list[str]]


def load_quantized(
    folder: Path, dtype: torch.dtype, quantization: Quantization
) -> tuple[nn.Module, Report]:
    """Load the expert in *folder*, its blocks' linear weights in 8 bits.

    They are rounded from what the files hold, float32 in the published ones. All else comes in the
    types in which `from_pretrained` would bring it.

    Returns:
        The expert, and what did not fit, in the words of diffusers' loading info. An expert with
        missing keys is not usable.

    Raises:
        OSError, ValueError, SafetensorError: If a file is not there or cannot be read.
    """
    cls: Any = WanTransformer3DModel
    config = cls.load_config(folder, local_files_only=True)
    with init_empty_weights():  # parameters only: buffers are computed, as no file holds them
        expert: nn.Module = cls.from_config(config)
    quantize(expert, quantization)
    shapes = {name: weight.shape for name, weight in expert.named_parameters()}
    report: Report = {"missing_keys": [], "unexpected_keys": [], "mismatched_keys": []}
    for name, value in _tensors(folder):
        if name not in shapes:
            report["unexpected_keys"].append(name)
        elif shapes[name] != value.shape:
            report["mismatched_keys"].append(name)
        else:
            _fill(expert, name, value, _dtype_of(name, dtype), quantization)
    report["missing_keys"] = [name for name, weight in expert.named_parameters() if weight.is_meta]
    return expert, report


def _tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield name and value of each tensor of the files, one at a time."""
    whole = COMPONENTS["transformer"].weights
    for path in weight_files(folder, str(whole)):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - no dictionary
                yield name, file.get_tensor(name)


def _fill(
    expert: nn.Module, name: str, value: Tensor, dtype: torch.dtype, quantization: Quantization
) -> None:
    path, _, leaf = name.rpartition(".")
    owner = expert.get_submodule(path)
    if isinstance(owner, QuantizedLinear) and leaf == "weight":
        kept, owner.weight_scale = quantized(value, FORMATS[quantization])
    else:
        # A copy, or the mapped shard would stay open for the sake of its biases.
        kept = value.to(dtype, copy=True)
    setattr(owner, leaf, nn.Parameter(kept, requires_grad=False))


def _dtype_of(name: str, dtype: torch.dtype) -> torch.dtype:
    kept: list[str] = WanTransformer3DModel._keep_in_fp32_modules
    return torch.float32 if any(part in kept for part in name.split(".")) else dtype
