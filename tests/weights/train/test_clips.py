"""The clips that small checkpoints are trained on."""

from __future__ import annotations

import pytest
import torch

from weights.train.clips import BACKGROUNDS, COLOURS, MOTIONS, SHAPES, Scene, random_scene, render

SQUARE = Scene("red", "square", "moving right", "quickly", "grey")


def draw(scene, *, seed=0, frames=9, height=48, width=80):
    generator = torch.Generator().manual_seed(seed)
    return render(scene, frames=frames, height=height, width=width, generator=generator)


def test_a_caption_says_all_there_is_to_know():
    """The prompt is written by the same words that the reader answers in."""
    assert "a red square moving right quickly over a grey background" == SQUARE.caption
    still = Scene("orange", "star", "standing still", "slowly", "navy")
    assert "an orange star standing still over a navy background" == still.caption


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 64, 112), (17, 112, 64), (81, 48, 48)])
def test_any_size_and_length_can_be_drawn(frames, height, width):
    """Training uses every aspect, and up to 161 frames."""
    clip = draw(SQUARE, frames=frames, height=height, width=width)

    assert (3, frames, height, width) == tuple(clip.shape)
    assert clip.abs().max() <= 1


def test_the_seed_decides_everything():
    """A checkpoint has to be made again from its seed, clip for clip."""
    assert torch.equal(draw(SQUARE, seed=3), draw(SQUARE, seed=3))
    assert not torch.equal(draw(SQUARE, seed=3), draw(SQUARE, seed=4))


@pytest.mark.parametrize("motion", MOTIONS)
def test_only_standing_still_stands_still(motion):
    """A motion that cannot be seen would teach nothing but noise."""
    clip = draw(Scene("white", "star", motion, "slowly", "black"))

    assert (motion == "standing still") == torch.equal(clip[:, 0], clip[:, -1])


def test_the_background_does_not_move():
    """What changes is the shape: the reader goes by it."""
    for background in BACKGROUNDS:
        clip = draw(Scene("blue", "circle", "moving left", "quickly", background), seed=1)
        untouched = clip[:, :, :2]

        assert torch.equal(untouched[:, 0], untouched[:, -1]), background


def test_every_word_is_drawn_sooner_or_later():
    """And a circle never turns: nobody could see whether it does."""
    generator = torch.Generator().manual_seed(0)
    scenes = [random_scene(generator) for _ in range(600)]

    assert set(COLOURS) == {scene.colour for scene in scenes}
    assert set(SHAPES) == {scene.shape for scene in scenes}
    assert set(MOTIONS) == {scene.motion for scene in scenes}
    assert set(BACKGROUNDS) == {scene.background for scene in scenes}
    turning = {scene.shape for scene in scenes if scene.motion == "turning"}
    assert {"square", "triangle", "star", "cross"} == turning
