"""A page of clips to look at."""

from __future__ import annotations

import torch

from weights.train.sheet import GAP, LINE, SCALE, SHOWN, sheet


def test_frames_stand_in_their_order_under_their_caption():
    """Six of the seventeen, from the first to the last."""
    brighter = torch.linspace(-1, 1, 17).view(1, 17, 1, 1).expand(3, 17, 8, 10)
    page = sheet([("brighter", brighter), ("darker", brighter.flip(1))])
    width, height = 10 * SCALE, 8 * SCALE
    row = LINE + height + GAP
    middles = [GAP + n * (width + GAP) + width // 2 for n in range(SHOWN)]

    up = [page.getpixel((x, LINE + height // 2))[0] for x in middles]
    down = [page.getpixel((x, row + LINE + height // 2))[0] for x in middles]
    assert (0, 255) == (up[0], up[-1])
    assert sorted(up) == up == down[::-1]
    assert page.crop((0, 0, page.width, LINE)).convert("L").getextrema()[0] < 100
