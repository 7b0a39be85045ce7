"""A page of clips to look at."""

from __future__ import annotations

from pathlib import Path

import torch

from weights.train.asking import Studio
from weights.train.sheet import GAP, LINE, SCALE, SHOWN, between, sheet

MINI = Path(__file__).parents[3] / "weights" / "mini"


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


def test_what_is_put_between_two_frames_keeps_both(tmp_path):
    """A network of the trained directory, beside fading; what is not there is left out."""
    rows = dict(between(Studio(MINI, tmp_path)))

    assert rows["rife"].shape == rows["faded"].shape == (3, SHOWN, 96, 176)
    for end in (0, -1):
        assert torch.equal(rows["rife"][:, end], rows["faded"][:, end])
    assert not torch.allclose(rows["rife"][:, 2], rows["faded"][:, 2], atol=0.1)
