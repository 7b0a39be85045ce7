"""The reader, which a trained checkpoint is going to be judged by."""

from __future__ import annotations

import pytest
import torch

from weights.train.clips import random_scene, render
from weights.train.reader import Reading, read


def agreement(clips):
    """The share of *clips* whose colour, shape and motion are read as the scene has them."""
    right = torch.zeros(3)
    for scene, clip in clips:
        seen = read(clip)
        right += torch.tensor(
            [
                scene.colour == seen.colour,
                scene.shape == seen.shape,
                scene.motion == seen.motion,
            ]
        )
    return (right / len(clips)).tolist()


def clips(count, *, frames=17, height=64, width=112):
    generator = torch.Generator().manual_seed(5)
    scenes = [random_scene(generator) for _ in range(count)]
    sizes = {"frames": frames, "height": height, "width": width}
    return [(scene, render(scene, **sizes, generator=generator)) for scene in scenes]


@pytest.mark.parametrize("size", [(64, 112), (112, 64), (80, 80)])
def test_true_clips_are_read_as_their_captions(size):
    """What the instrument itself gets wrong would be blamed on the checkpoint."""
    height, width = size
    colour, shape, motion = agreement(clips(30, height=height, width=width))

    assert 1.0 == colour
    assert shape >= 0.98
    assert motion >= 0.98


def test_a_noisy_soft_clip_is_read_too():
    """What a small VAE makes of a clip is never as crisp as the original."""
    generator = torch.Generator().manual_seed(6)
    softened = []
    for scene, clip in clips(30):
        soft = torch.nn.functional.avg_pool2d(clip, 3, stride=1, padding=1)
        noise = 0.08 * torch.randn(clip.shape, generator=generator)
        softened.append((scene, (soft + noise).clamp(-1, 1)))
    colour, shape, motion = agreement(softened)

    assert colour >= 0.98
    assert shape >= 0.9
    assert motion >= 0.95


@pytest.mark.parametrize("level", [-1.0, -0.2, 0.3])
def test_nothing_is_read_from_a_plain_picture(level):
    """A checkpoint that shows grey must not score by chance."""
    assert Reading(None, None, None) == read(torch.full((3, 9, 64, 112), level))


def test_noise_agrees_with_no_caption_in_particular():
    """The floor under every number: what random weights score."""
    generator = torch.Generator().manual_seed(7)
    pairs = [
        (random_scene(generator), torch.rand(3, 9, 64, 112, generator=generator) * 2 - 1)
        for _ in range(40)
    ]

    assert max(agreement(pairs)) < 0.35
