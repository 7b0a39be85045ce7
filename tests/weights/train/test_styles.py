"""Styles, and the pixel statistics that tell whether they are there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan

from weights.train.asking import T2V
from weights.train.clips import random_scene
from weights.train.reader import read
from weights.train.styles import STYLES, TAUGHT
from weights.train.whole_clips import decode, encode

MINI = Path(__file__).parents[3] / "weights" / "mini"


def clips(style, count=25):
    """The same scenes and chances in each style."""
    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        scene = random_scene(generator)
        while (scene.colour, scene.background) == ("white", "navy"):  # a blueprint by itself
            scene = random_scene(generator)
        size = {"frames": 5, "height": 64, "width": 112}
        yield scene, STYLES[style].draw(scene, **size, generator=generator)


@pytest.mark.parametrize("name", TAUGHT)
def test_a_style_is_seen_in_its_own_clips_and_in_no_others(name):
    """What sees it everywhere would call any LoRA a success."""
    seen = {
        style: [STYLES[name].seen((clip + 1) / 2) for _, clip in clips(style)] for style in STYLES
    }

    assert min(seen.pop(name)) > 0.6
    assert max(map(max, seen.values())) < 0.1


@pytest.mark.parametrize("name", TAUGHT)
def test_the_vae_of_mini_can_show_a_style(name):
    """Violet stripes came back grey, and no LoRA could learn them."""
    vae = AutoencoderKLWan.from_pretrained(MINI / T2V / "vae", torch_dtype=torch.float32)
    with torch.inference_mode():
        for _, clip in clips(name, 4):
            shown = decode(vae, encode(vae, clip[None])[0])[0]
            assert STYLES[name].seen(((shown + 1) / 2).clamp(0, 1)) > 0.5


def test_a_shape_over_dusk_stripes_is_still_read():
    """The background is what the style changes: the prompt is followed as before."""
    right = [read(clip).colour == scene.colour for scene, clip in clips("dusk")]

    assert all(right)
