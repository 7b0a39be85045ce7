"""Linear layers whose weight is kept in 8 bits: float8 or int8, with one scale for each row.

Only the weight is rounded: a layer makes it whole again in the activations' dtype each time it is
used, and multiplies in that. It is about memory, half of bfloat16's, and not about speed: a card
that multiplies in 8 bits (`torch._scaled_mm`, `torch._int_mm`) is not asked to.

To add a format, add a row to `FORMATS` and its name to `Quantization` in `wan_local/catalog.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from wan_local.catalog import Quantization

FORMATS: Mapping[Quantization, torch.dtype] = {
    # Of the two float8 the one with more mantissa: range is the scales' business.
    "float8": torch.float8_e4m3fn,
    "int8": torch.int8,
}


class QuantizedLinear(nn.Module):
    """A linear layer whose weight is float8 or int8; for inference.

    Its tensors have the names that `nn.Linear` gives them, and *weight_scale* beside them.
    """

    weight: Tensor
    """[out, in], float8_e4m3fn or int8."""
    weight_scale: Tensor
    """[out, 1], float32: what a row of the weight is multiplied with."""
    bias: Tensor | None
    """[out], as it was."""

    def __init__(self, weight: Tensor, weight_scale: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.register_buffer("weight_scale", weight_scale)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    @classmethod
    def of(cls, layer: nn.Linear, quantization: Quantization) -> QuantizedLinear:
        """Return *layer*, of any floating dtype, with its weight rounded to 8 bits."""
        weight, scale = quantized(layer.weight.data, FORMATS[quantization])
        return cls(weight, scale, layer.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return [..., out] of [..., in], in the dtype of *inputs*."""
        return functional.linear(inputs, self.dequantized(inputs.dtype), self.bias)

    def dequantized(self, dtype: torch.dtype) -> Tensor:
        """Return the weight times its scales, computed in float32 and rounded to *dtype*."""
        return self.weight.to(torch.float32).mul_(self.weight_scale).to(dtype)

    def extra_repr(self) -> str:
        """Return what torch prints between the brackets."""
        rows, columns = self.weight.shape
        return f"in_features={columns}, out_features={rows}, weight={self.weight.dtype}"


def quantized(value: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return *value* rounded to *dtype*, and the scale of each row, float32 [rows, 1].

    The largest of a row becomes the largest that *dtype* holds. Quantising what was dequantised
    gives the same weight again.

    Args:
        value: A weight of any floating dtype, [rows, columns].
        dtype: One of those of `FORMATS`.
    """
    value = value.to(torch.float32)
    scale = row_scale(value.abs().amax(dim=1, keepdim=True), dtype)
    return rounded(value / scale, dtype), scale


def row_scale(largest: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the scale under which *largest*, float32, is the most that *dtype* holds."""
    # A row of zeros must not be divided by zero, nor by what a GPU takes for it.
    return (largest / _most(dtype)).clamp(min=torch.finfo(torch.float32).tiny)


def rounded(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Return *value*, float32, as the nearest that *dtype* holds, from -127 for int8."""
    most = _most(dtype)
    # What is beyond would be stored as NaN, or with the other sign.
    value = value.clamp(-most, most)
    return (value if dtype.is_floating_point else value.round()).to(dtype)


def is_quantizable(name: str) -> bool:
    """Return whether the linear layer *name* of an expert is kept in 8 bits.

    Those of its blocks: attention and feed-forward, 98 % of the 14B expert. What is small and all
    tokens depend on (embeddings of time, text and patches, the last projection) stays.
    """
    return name.startswith("blocks.")


def quantize(expert: nn.Module, quantization: Quantization) -> None:
    """Put 8-bit layers in the place of the linear layers of *expert* that `is_quantizable` names.

    One by one, so that no more than one is there twice.
    """
    for name in [name for name, _ in expert.named_modules() if is_quantizable(name)]:
        layer = expert.get_submodule(name)
        if isinstance(layer, nn.Linear):
            expert.set_submodule(name, QuantizedLinear.of(layer, quantization))


def _most(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).max if dtype.is_floating_point else torch.iinfo(dtype).max
