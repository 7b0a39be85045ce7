"""What the experts are shown of a picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from tests.wan_local.plans import I2V, PICTURE, a_plan
from wan_local.geometry import Size
from wan_local.stages.condition import (
    BesideTheNoise,
    InTheFirstFrame,
    WordsAlone,
    beside_the_noise,
    first_alone,
    first_to_last,
    fit,
    in_the_first_frame,
)

T = torch.tensor(750)
ENCODED = torch.randn(1, 16, 3, 2, 2)


def a_picture_plan(**changes):
    return a_plan(model=I2V, boundary=0.9, first_frame=PICTURE, **changes)


def gradient(width, height):
    across = np.linspace(0, 255, width, dtype=np.uint8)
    down = np.linspace(0, 255, height, dtype=np.uint8)
    grid = np.broadcast_arrays(across[None], down[:, None], np.uint8(128))
    return np.stack(grid, axis=-1)


def test_words_alone_change_nothing():
    """Text to video: the noisy latents, all at one timestep."""
    shown, level = WordsAlone().shown(ENCODED, T)

    assert ENCODED is shown
    assert [750] == level.tolist()
    assert ENCODED is WordsAlone().settled(ENCODED)


def known_frames(**changes):
    """Which of the four frames of each latent frame are known, as a list a latent frame."""
    condition = beside_the_noise(ENCODED, a_picture_plan(**changes))
    mask = condition.channels[0, :4]
    assert torch.equal(mask.amin(dim=(2, 3)), mask.amax(dim=(2, 3)))
    return mask[:, :, 0, 0].T.tolist()


def test_the_mask_says_which_frames_are_known():
    """The experts were trained on this layout: the first frame four times, the last one once."""
    assert [[1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]] == known_frames(num_frames=9)
    assert [[1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 1]] == known_frames(
        num_frames=9, last_frame=PICTURE
    )


def test_a_last_picture_stands_where_the_client_sees_it():
    """Seven frames are cut from nine: one at the very end would be cut off with the surplus."""
    plan = a_picture_plan(num_frames=7, last_frame=PICTURE)
    first, last = torch.full((1, 3, 1, 2, 2), 0.5), torch.full((1, 3, 1, 2, 2), -0.5)
    shown = torch.cat(list(first_to_last(first, last, plan)), dim=2)[0, 0, :, 0, 0].tolist()

    assert [0.5, 0, 0, 0, 0, 0, -0.5, -0.5, -0.5] == shown
    assert [[1, 1, 1, 1], [0, 0, 0, 0], [0, 1, 1, 1]] == known_frames(
        num_frames=7, last_frame=PICTURE
    )


def test_the_picture_comes_after_the_latents_and_the_mask():
    """16 noisy channels, 4 of the mask, 16 of the picture: the 36 that the experts take."""
    shown, level = beside_the_noise(ENCODED, a_picture_plan()).shown(ENCODED + 1, T)

    assert 36 == shown.shape[1]
    assert torch.equal(ENCODED + 1, shown[:, :16])
    assert torch.equal(ENCODED, shown[:, 20:])
    assert [750] == level.tolist()
    assert ENCODED is BesideTheNoise(ENCODED).settled(ENCODED)


def test_a_5b_model_sees_the_picture_in_the_first_frame_at_timestep_zero():
    """Its tokens are finished, all the others are as noisy as the step says."""
    latents = torch.zeros(1, 48, 3, 4, 6)
    condition = in_the_first_frame(torch.ones(1, 48, 1, 4, 6), a_plan())
    shown, levels = condition.shown(latents, T)

    assert [1, 0, 0] == shown.mean(dim=(0, 1, 3, 4)).tolist()
    assert (1, 3 * 2 * 3) == tuple(levels.shape)
    assert [0] * 6 + [750] * 12 == levels[0].tolist()
    assert torch.equal(shown, InTheFirstFrame(torch.ones(1, 48, 1, 4, 6)).settled(latents))
    assert torch.equal(torch.zeros_like(latents), latents)


def test_a_5b_model_reads_one_frame_only():
    """A still video of 81 frames would be encoded for nothing."""
    assert [1] == list(first_alone(1, None, a_plan()))


def test_a_picture_of_the_right_size_is_not_touched():
    """Every resampling blurs."""
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    pixels = fit(picture, Size(64, 48))

    assert (1, 3, 1, 48, 64) == tuple(pixels.shape)
    assert torch.equal(VaeImageProcessor().preprocess(Image.fromarray(picture)), pixels[:, :, 0])


@pytest.mark.parametrize(
    ("width", "height"), [(200, 100), (100, 200), (37, 41), (640, 480), (10, 900), (63, 48)]
)
def test_a_picture_covers_the_frame_and_loses_its_edges(width, height):
    """No bars and no stretching: the middle of it, as large as it goes."""
    pixels = fit(gradient(width, height), Size(64, 48))[0, :, 0]
    scale = min(width / 64, height / 48)

    assert (3, 48, 64) == tuple(pixels.shape)
    for channel, kept in ((0, 64 * scale / width), (1, 48 * scale / height)):
        shown = pixels[channel]
        assert shown.max() == pytest.approx(kept, abs=0.05)
        assert shown.min() == pytest.approx(-kept, abs=0.05)
    assert pixels[2].mean() == pytest.approx(128 / 127.5 - 1, abs=0.01)


def test_cutting_is_diffusers_crop_mode_but_for_its_rounding():
    """The same middle of the same picture, within what whole pixels in between change."""
    picture = gradient(640, 420)
    processor = VaeImageProcessor(resample="lanczos")
    theirs = processor.preprocess(Image.fromarray(picture), height=48, width=64, resize_mode="crop")

    assert torch.allclose(theirs[:, :, None], fit(picture, Size(64, 48)), atol=0.03)
