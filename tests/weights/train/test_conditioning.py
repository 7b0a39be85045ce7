"""What a model in training is shown, against what the engine shows it."""

from __future__ import annotations

import pytest
import torch

from tests.wan_local.plans import I2V, PICTURE, a_plan
from tests.weights.train.worlds import awake, finished, small_shape
from wan_local.geometry import Size
from wan_local.stages.condition import WAYS as ENGINE
from wan_local.stages.condition import InTheFirstFrame, first_to_last
from wan_local.stages.encode import encode_frames
from wan_local.stages.prompt import MAX_TOKENS
from weights.train.clips import random_scene, render
from weights.train.conditioning import KNOWN, Batch, condition, known_pixels, with_picture
from weights.train.corpus import Corpus, Kind, write
from weights.train.experts import WAYS
from weights.train.text import DIM
from weights.train.transformer import build, short_text, velocity, widen


def carried_out(journey):
    while True:
        try:
            next(journey)
        except StopIteration as end:
            return end.value


def drawn(frames=9, height=32, width=48):
    generator = torch.Generator().manual_seed(4)
    size = {"frames": frames, "height": height, "width": width}
    return render(random_scene(generator), **size, generator=generator)


def as_the_engine_does(vae, clip, *, last):
    """Return the engine's condition for a request with the first, or both ends, of *clip*."""
    plan = a_plan(
        model=I2V,
        boundary=0.9,
        size=Size(clip.shape[3], clip.shape[2]),
        num_frames=clip.shape[1],
        first_frame=PICTURE,
        last_frame=PICTURE if last else None,
    )
    ends = clip[None, :, :1], clip[None, :, -1:] if last else None
    encoded = carried_out(encode_frames(vae, first_to_last(*ends, plan)))
    return ENGINE["i2v"].condition(encoded, plan)


@pytest.mark.parametrize("last", [False, True])
@torch.inference_mode()
def test_image_to_video_is_trained_on_what_the_engine_shows(last, tmp_path, monkeypatch):
    """A condition that differs from the engine's is one the expert has never seen."""
    small_shape(monkeypatch)
    vae, clip = finished("2.1", tmp_path), drawn()
    theirs = as_the_engine_does(vae, clip, last=last)
    pictures = carried_out(
        encode_frames(vae, known_pixels(clip, last=last).unsqueeze(0).split(1, dim=2))
    )
    batch = Batch(torch.zeros_like(pictures), condition(pictures, torch.tensor([last])))
    noisy, sigma = torch.randn(pictures.shape), torch.tensor([0.95])
    ours = WAYS["i2v"](noisy, sigma, batch, torch.Generator())
    taken_in, timestep = theirs.shown(noisy, torch.tensor(950.0))

    assert (taken_in - ours.latents).abs().max() <= 1e-5
    model = awake(build(36, 16))
    words = torch.randn(1, 6, DIM)
    padded = torch.nn.functional.pad(words, (0, 0, 0, MAX_TOKENS - 6))
    engines = model(taken_in, timestep, padded, return_dict=False)[0]
    without = model(
        torch.cat([noisy, 0 * taken_in[:, 16:]], 1), timestep, padded, return_dict=False
    )[0]
    trained = velocity(
        model, short_text(model), ours.latents, ours.sigma, (words, torch.tensor([6]))
    )
    assert (engines - trained).abs().max() <= 1e-5 * max(1.0, float(engines.std()))
    assert (engines - without).std() > 0.01 * engines.std()


@torch.inference_mode()
def test_the_picture_of_5b_stands_in_the_first_frame_at_no_noise(monkeypatch):
    """Each token has a timestep of its own there, and the picture's have none of the noise."""
    small_shape(monkeypatch)
    clean, noisy = torch.randn(2, 1, 48, 3, 4, 6)
    ours = with_picture(noisy, torch.tensor([0.7]), clean)
    picture = InTheFirstFrame(clean[:, :, :1])
    taken_in, timestep = picture.shown(noisy, torch.tensor(700.0))

    assert torch.equal(taken_in, ours.latents)
    assert torch.allclose(timestep, ours.sigma * 1000)
    model = awake(build(48, 48))
    words = torch.randn(1, 6, DIM)
    padded = torch.nn.functional.pad(words, (0, 0, 0, MAX_TOKENS - 6))
    engines = model(taken_in, timestep, padded, return_dict=False)[0]
    trained = velocity(
        model, short_text(model), ours.latents, ours.sigma, (words, torch.tensor([6]))
    )
    assert (engines - trained).abs().max() <= 1e-5 * max(1.0, float(engines.std()))
    assert 1 == ours.given


def test_errors_count_more_in_the_frames_whose_picture_is_shown():
    """Two frames of twenty would be lost among the others, and are what a user compares first."""
    clip, pictures = torch.zeros(2, 2, 16, 5, 2, 3)
    batch = Batch(clip, condition(pictures, torch.tensor([False, True])))
    weight = WAYS["i2v"](clip, torch.tensor([0.5, 0.5]), batch, torch.Generator()).weight

    assert [[KNOWN, 1, 1, 1, 1], [KNOWN, 1, 1, 1, KNOWN]] == weight[:, 0, :, 0, 0].tolist()
    assert 1 == WAYS["t2v"](clip, torch.tensor([0.5]), Batch(clip), torch.Generator()).weight


def test_some_batches_of_5b_begin_with_a_picture_and_pictures_never_do():
    """One transformer learns both; a clip of one frame would have nothing left to learn."""
    generator, sigma = torch.Generator().manual_seed(0), torch.tensor([0.5])
    clip, still = torch.randn(1, 48, 3, 2, 2), torch.randn(1, 48, 1, 2, 2)
    given = [WAYS["ti2v"](clip, sigma, Batch(clip), generator).given for _ in range(200)]

    assert 0.2 < sum(given) / 200 < 0.4
    assert {0} == {WAYS["ti2v"](still, sigma, Batch(still), generator).given for _ in range(50)}


@torch.inference_mode()
def test_a_widened_expert_is_the_one_it_was(monkeypatch):
    """Image to video begins with all that text to video has learned."""
    small_shape(monkeypatch)
    narrow = awake(build())
    wide = widen(narrow, 36)
    noisy, more = torch.randn(1, 16, 2, 4, 4), torch.randn(1, 20, 2, 4, 4)
    words = torch.randn(1, 5, DIM)
    theirs = narrow(noisy, torch.tensor([900.0]), words, return_dict=False)[0]
    ours = wide(torch.cat([noisy, more], 1), torch.tensor([900.0]), words, return_dict=False)[0]

    assert 36 == wide.config.in_channels
    assert torch.allclose(theirs, ours, atol=1e-5)
    assert narrow is widen(narrow, 16)


def test_a_corpus_of_pictures_holds_what_is_known_beside_the_clip(tmp_path, monkeypatch):
    """Some clips show their last frame, too; the mask says which."""
    finished("2.1", tmp_path / "vae")
    monkeypatch.setattr("weights.train.corpus.PER_SHARD", 6)
    kinds = {"i2v": (Kind(5, 32, 32, 6, 1.0),)}
    monkeypatch.setattr("weights.train.corpus.KINDS", kinds)
    write(tmp_path / "vae", tmp_path / "shards", "i2v")
    batch, _ = Corpus(tmp_path / "shards", "i2v").draw(1000, torch.Generator())
    mask, pictures = batch.condition.split([4, 16], 1)

    assert (6, 20, 2, 4, 4) == tuple(batch.condition.shape)
    assert (mask[:, :, 0] == 1).all()
    assert 2 == int(mask[:, 3, 1, 0, 0].sum())
    assert 0 == mask[:, :3, 1].sum()
    first = batch.latents[:, :, 0] - pictures[:, :, 0]
    later = batch.latents[:, :, 1] - pictures[:, :, 1]
    assert first.abs().max() < 0.02 < later.abs().max()
