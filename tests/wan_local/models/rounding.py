"""How far rounding to 8 bits may move a weight; from the formats' definitions alone."""

from __future__ import annotations

import torch

SLACK = 1 + 1e-5
"""For the float32 in which scales are computed."""


def half_step(
    weight: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype = torch.int8
) -> torch.Tensor:
    """Return half the distance between neighbours at each element of *weight*.

    int8 has steps of one scale. float8_e4m3 has 3 bits of mantissa: a step is at most an eighth of
    the value, and 2**-9 of a scale where the values are smallest.
    """
    if dtype == torch.int8:
        return SLACK * scale.double().expand_as(weight) / 2
    return SLACK * torch.maximum(weight.double().abs() / 8, scale.double() * 2**-9) / 2
