"""Reading a picture where a flow points."""

from __future__ import annotations

import torch

from wan_local.interpolation.warp import backward_warp


def flow(u, v, *, height=6, width=8):
    return torch.tensor([u, v]).view(1, 2, 1, 1).expand(1, 2, height, width).contiguous()


def picture():
    return torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(0))


def test_u_points_right_and_v_down():
    """A sign or an axis mixed up still gives smooth pictures, only wrong ones."""
    warped = backward_warp(picture(), flow(2.0, 1.0))

    assert torch.allclose(picture()[..., 1:, 2:], warped[..., :-1, :-2], atol=1e-6)


def test_between_pixels_is_bilinear():
    """Half-way between two pixels is their mean."""
    warped = backward_warp(picture(), flow(0.5, 0.0))
    mean = (picture()[..., :-1] + picture()[..., 1:]) / 2

    assert torch.allclose(mean, warped[..., :-1], atol=1e-6)


def test_outside_the_edge_pixel_is_repeated():
    """What has left the picture is best guessed by what was last seen of it."""
    warped = backward_warp(picture(), flow(-99.0, 0.0))

    assert torch.allclose(picture()[..., :1].expand(1, 3, 6, 8), warped)


def test_half_precision_knows_where_it_is():
    """At x = 2500 a float16 counts in steps of two: pixels would come from the wrong column."""
    wide = torch.arange(3000).remainder(7).half().view(1, 1, 1, 3000)
    still = torch.zeros(1, 2, 1, 3000, dtype=torch.float16)

    assert torch.allclose(wide.float(), backward_warp(wide, still).float(), atol=0.01)
