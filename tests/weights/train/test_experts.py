"""Training experts, and the noise levels they are trained at."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch
from diffusers import WanTransformer3DModel

from tests.weights.train.worlds import awake, finished, small_shape
from weights.train import corpus as module
from weights.train.clips import random_scene
from weights.train.corpus import Corpus, Kind, write
from weights.train.experts import BOUNDARY, Lesson, begin, noise_levels, read_texts, train
from weights.train.shards import save_shard
from weights.train.transformer import build

pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")


def test_each_side_draws_its_own_noise_levels():
    """An expert trained on the other's levels would be trained for nothing."""
    generator = torch.Generator().manual_seed(0)

    assert noise_levels(500, "high", generator).min() >= BOUNDARY
    assert noise_levels(500, "low", generator).max() <= BOUNDARY
    both = noise_levels(500, "both", generator)
    assert 0 <= both.min() < 0.3
    assert 0.98 < both.max() <= 1


def test_a_boundary_can_be_anothers():
    """The experts of image to video change at 0.9."""
    generator = torch.Generator().manual_seed(0)

    assert noise_levels(500, "high", generator, 0.9).min() >= 0.9
    assert noise_levels(500, "low", generator, 0.9).max() <= 0.9


KINDS = {
    "t2v": (Kind(5, 32, 32, 4, 1.0),),
    "i2v": (Kind(5, 32, 32, 4, 1.0),),
    "ti2v": (Kind(5, 64, 64, 4, 1.0),),
}


@pytest.mark.parametrize(
    ("task", "layout", "begun", "channels"),
    [
        ("t2v", "2.1", None, (16, 16)),
        ("i2v", "2.1", 16, (36, 16)),
        ("ti2v", "2.2", 48, (48, 48)),
    ],
)
def test_each_task_is_trained_by_one_command(
    task, layout, begun, channels, words, tmp_path, monkeypatch
):
    """From a VAE to an expert that diffusers loads, with its curve beside it."""
    small_shape(monkeypatch)
    monkeypatch.setattr(module, "KINDS", KINDS)
    monkeypatch.setattr(module, "PER_SHARD", 4)
    finished(layout, tmp_path / "vae")
    write(tmp_path / "vae", tmp_path / "corpus", task)
    start = begun and tmp_path / "start"
    if begun:
        awake(build(begun, begun)).save_pretrained(start)
    side = "both" if task == "ti2v" else "low"
    train(
        Corpus(tmp_path / "corpus", task),
        words,
        tmp_path / "out",
        side=side,
        minutes=0.01,
        start=start,
    )
    config = WanTransformer3DModel.from_pretrained(tmp_path / "out").config

    assert channels == (config.in_channels, config.out_channels)
    assert (tmp_path / "out" / "last.json").is_file()


@pytest.mark.parametrize("task", ["i2v", "ti2v"])
def test_all_but_text_to_video_need_an_expert_to_go_on_from(task):
    """From nothing, they would have to learn twice what takes hours once."""
    with pytest.raises(ValueError, match=f"{task} .*--start is missing"):
        begin(task, None, None)


def test_what_a_vae_leaves_empty_is_not_learned(words, tmp_path):
    """Fourteen of sixteen channels: without noise, and no error is thinned by them."""
    latents = torch.randn(4, 16, 1, 4, 4).half()
    latents[:, 2:] = 0
    scenes = [asdict(random_scene(torch.Generator().manual_seed(n))) for n in range(4)]
    save_shard(tmp_path / "1x96x176.000.safetensors", {"latents": latents}, scenes=scenes)
    lesson = Lesson(Corpus(tmp_path), read_texts(words), torch.Generator().manual_seed(0))
    seen = []

    def predict(noisy, _sigma, _said):
        seen.append(noisy)
        return torch.zeros_like(noisy)

    errors, _ = lesson.errors(predict, "both")
    assert [True] * 2 + [False] * 14 == (seen[0] != 0).amax((0, 2, 3, 4)).tolist()
    assert 1.4 < float(errors.mean()) < 2.6  # noise less latents: a variance of 2
