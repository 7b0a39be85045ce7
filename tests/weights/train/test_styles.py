"""Styles, and the pixel statistics that tell whether they are there."""

from __future__ import annotations

import pytest
import torch

from weights.train.clips import random_scene
from weights.train.reader import read
from weights.train.styles import STYLES

TAUGHT = [name for name in STYLES if name != "plain"]


def clips(style, count=25):
    """The same scenes and chances in each style."""
    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        scene = random_scene(generator)
        size = {"frames": 5, "height": 64, "width": 112}
        yield scene, STYLES[style].draw(scene, **size, generator=generator)


@pytest.mark.parametrize("name", TAUGHT)
def test_a_style_is_seen_in_its_own_clips_and_in_no_others(name):
    """What sees it everywhere would call any LoRA a success."""
    seen = {
        style: [STYLES[name].seen((clip + 1) / 2) for _, clip in clips(style)] for style in STYLES
    }

    assert min(seen.pop(name)) > 0.8
    assert max(map(max, seen.values())) < 0.1


def test_a_style_survives_a_small_vae():
    """Soft and noisy, as generated clips are."""
    generator = torch.Generator().manual_seed(1)
    for name in TAUGHT:
        for _, clip in clips(name, 8):
            soft = torch.nn.functional.avg_pool2d(clip, 3, stride=1, padding=1)
            soft = (soft + 0.03 * torch.randn(clip.shape, generator=generator)).clamp(-1, 1)
            assert STYLES[name].seen((soft + 1) / 2) > 0.5


def test_a_shape_over_violet_stripes_is_still_read():
    """The background is what the style changes: the prompt is followed as before."""
    right = [read(clip).colour == scene.colour for scene, clip in clips("violet")]

    assert all(right)
