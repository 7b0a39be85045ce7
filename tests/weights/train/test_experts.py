"""Training experts, and the noise levels they are trained at."""

from __future__ import annotations

import pytest
import torch
from diffusers import WanTransformer3DModel

from tests.weights.train.worlds import awake, finished, small_shape
from weights.train import corpus as module
from weights.train.corpus import Corpus, Kind, write
from weights.train.experts import BOUNDARY, begin, noise_levels, train
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
    ("task", "layout", "channels"),
    [("t2v", "2.1", (16, 16)), ("i2v", "2.1", (36, 16)), ("ti2v", "2.2", (48, 48))],
)
def test_each_task_is_trained_by_one_command(task, layout, channels, words, tmp_path, monkeypatch):
    """From a VAE to an expert that diffusers loads, with its curve beside it."""
    small_shape(monkeypatch)
    monkeypatch.setattr(module, "KINDS", KINDS)
    monkeypatch.setattr(module, "PER_SHARD", 4)
    finished(layout, tmp_path / "vae")
    write(tmp_path / "vae", tmp_path / "corpus", task)
    start = tmp_path / "start" if task == "i2v" else None
    awake(build()).save_pretrained(tmp_path / "start")
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


def test_image_to_video_needs_an_expert_to_go_on_from():
    """From nothing, it would have to learn twice what takes hours once."""
    with pytest.raises(ValueError, match="--start is missing"):
        begin("i2v", None, None)
