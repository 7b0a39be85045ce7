"""Reading a picture where a flow points: what every interpolation network is built on."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample


def backward_warp(picture: Tensor, flow: Tensor) -> Tensor:
    """Return *picture* read at (x + u, y + v): bilinear, edge pixels repeated.

    Args:
        picture: [n, channels, height, width].
        flow: [n, 2, height, width], pixels; u to the right, v down.

    Places are computed and read in float32 whatever the dtype: past x = 2048 a float16 cannot
    tell two neighbouring pixels apart.
    """
    _, _, height, width = flow.shape
    x = torch.arange(width, device=flow.device, dtype=torch.float32) + flow[:, 0].float()
    y = torch.arange(height, device=flow.device, dtype=torch.float32)[:, None] + flow[:, 1].float()
    places = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)
    warped = grid_sample(
        picture.float(), places, mode="bilinear", padding_mode="border", align_corners=False
    )
    return warped.to(picture.dtype)
