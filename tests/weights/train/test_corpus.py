"""Latents on the disk."""

from __future__ import annotations

import pytest
import torch

from weights.train import corpus as module
from weights.train.autoencoder import build, finish
from weights.train.clips import random_scene
from weights.train.corpus import Corpus, Kind, held_out, write


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """A corpus of two kinds from an untrained VAE."""
    folder = tmp_path_factory.mktemp("corpus")
    torch.manual_seed(0)
    finish(build("2.1").eval(), "2.1", folder / "vae", batches=1)
    kinds = (Kind(1, 32, 32, 64, 0.5), Kind(5, 32, 48, 4, 0.5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PER_SHARD", 4)
        patch.setattr(module, "KINDS", {"t2v": kinds})
        write(folder / "vae", folder / "shards")
        yield folder / "shards"


def test_every_kind_is_there_in_its_number(shards):
    """Two kinds of 64 and 4 clips; 4 to a shard, and of pictures 32."""
    names = sorted(path.name for path in shards.iterdir())

    assert [
        "1x32x32.000.safetensors",
        "1x32x32.001.safetensors",
        "5x32x48.000.safetensors",
    ] == names


def test_batches_are_of_one_kind_and_cost_the_same(shards):
    """Latents of different shapes do not stack; long clips come fewer at a time."""
    generator = torch.Generator().manual_seed(0)
    shapes = set()
    for _ in range(20):
        batch, scenes = Corpus(shards).draw(16, generator)
        shapes.add(tuple(batch.latents.shape))
        assert len(batch.latents) == len(scenes)
        assert batch.condition is None
        assert not any(held_out(scene) for scene in scenes)

    assert {(4, 16, 1, 4, 4), (2, 16, 2, 4, 6)} == shapes


def test_pictures_come_alone_if_nothing_else_is_wanted(shards):
    """What shapes look like is learned from them first."""
    stills, generator = Corpus(shards, stills=True), torch.Generator().manual_seed(0)

    assert {1} == {stills.draw(16, generator)[0].latents.shape[2] for _ in range(20)}


def test_a_fifth_of_what_can_be_joined_is_held_out():
    """Prompts of the evaluation must be new, and there must be enough of them."""
    generator = torch.Generator().manual_seed(0)
    out = sum(held_out(random_scene(generator)) for _ in range(2000))

    assert 0.1 < out / 2000 < 0.3
