"""A page of clips to look at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from wan_local.plan import SourceFile
from weights.train.asking import Studio
from weights.train.sheet import GAP, LINE, SCALE, SHOWN, between, pictures, sheet, styles
from weights.train.styles import TAUGHT

MINI = Path(__file__).parents[3] / "weights" / "mini"


def test_frames_stand_in_their_order_under_their_caption():
    """Six of the seventeen, from the first to the last."""
    brighter = torch.linspace(0, 1, 17).view(1, 17, 1, 1).expand(3, 17, 8, 10)
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
    """Each network of the trained directory, beside fading."""
    rows = dict(between(Studio(MINI, tmp_path)))
    faded = rows.pop("faded")

    assert {"rife", "film"} == set(rows)
    for row in rows.values():
        assert row.shape == faded.shape == (3, SHOWN, 96, 176)
        for end in (0, -1):
            assert torch.equal(row[:, end], faded[:, end])
        assert not torch.allclose(row[:, 2], faded[:, 2], atol=0.1)


class Asked:
    """A studio that draws nothing, and keeps the plans it was given."""

    weights = MINI

    def __init__(self):
        self.plans, self.pictures = [], []

    def clip(self, plan):
        self.plans.append(plan)
        return torch.full((3, 17, 96, 176), len(self.plans) / 10)

    def picture(self, frame):
        self.pictures.append(frame)
        return SourceFile(path=f"/{len(self.pictures)}.png", sha256="0" * 64)


def test_styles_are_one_prompt_and_seed_without_a_lora_and_with_each():
    """What differs between the rows is the LoRA alone."""
    studio = Asked()
    rows = styles(studio)
    names = [{ref.name for ref in plan.loras} for plan in studio.plans]

    assert 1 + len(TAUGHT) == len(rows)
    assert [replace(plan, loras=()) for plan in studio.plans] == [studio.plans[0]] * len(rows)
    assert set() == names[0]
    for style, found in zip(TAUGHT, names[1:], strict=True):
        assert found
        assert all(style in name for name in found)
    assert all(style in caption for style, (caption, _) in zip(TAUGHT, rows[1:], strict=True))


def test_pictures_are_the_ends_of_the_clip_that_is_shown():
    """The first frame alone, and then the last beside it."""
    studio = Asked()
    rows = pictures(studio)
    drawn = rows[0][1]
    first, last = studio.pictures
    one, both = studio.plans

    assert torch.equal(first, drawn[:, 0])
    assert torch.equal(last, drawn[:, -1])
    assert ("/1.png", None) == (one.first_frame.path, one.last_frame)
    assert ("/1.png", "/2.png") == (both.first_frame.path, both.last_frame.path)
    assert 3 == len(rows)
