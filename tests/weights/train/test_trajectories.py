"""The teacher's journeys from noise."""

from __future__ import annotations

import math
from dataclasses import asdict

import pytest
import torch

from tests.weights.train.worlds import awake, small_shape
from weights.train import trajectories
from weights.train.clips import Scene
from weights.train.corpus import Corpus
from weights.train.experts import read_texts
from weights.train.shards import Shards, save_shard
from weights.train.trajectories import FINE, STEPS, Teacher, journey, levels, states, write
from weights.train.transformer import build

pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")


def test_every_level_of_the_student_is_one_of_the_teachers():
    """Those that the turbo endpoints visit: the states of a journey are where its steps begin."""
    wanted = [1.0, 0.9375, 0.8333, 0.625, 0.0]

    assert pytest.approx(wanted, abs=1e-4) == levels(STEPS).tolist()
    assert torch.allclose(levels(STEPS), levels(STEPS * FINE)[::FINE])


def test_a_journey_arrives_where_the_equation_says():
    """Of dx/dt = x, from 1 to 0: at 1/e of where it began; better than by Euler's method."""
    noise = torch.randn(2, 16, 1, 2, 2, dtype=torch.float64)
    means = journey(lambda latents, _level: latents, noise)
    way = levels(STEPS * FINE)
    euler = math.prod(1 + float(step) for step in way.diff())
    found = float((states(noise, means)[:, -1] / noise).mean())

    assert abs(found - 1 / math.e) < 0.01
    assert abs(found - 1 / math.e) < 0.6 * abs(euler - 1 / math.e)


def test_straight_ways_are_followed_exactly():
    """Each state is a step of the mean velocity away from the one before."""
    noise, clean = torch.randn(2, 2, 16, 1, 2, 2)
    means = journey(lambda _latents, _level: noise - clean, noise)

    assert torch.allclose(states(noise, means)[:, -1], clean, atol=1e-5)
    assert (2, STEPS, 16, 1, 2, 2) == tuple(means.shape)


def test_each_expert_works_on_its_side_and_guidance_pushes(monkeypatch):
    """As in the engine: away from the empty prompt, by each expert's own scale."""
    small_shape(monkeypatch)
    torch.manual_seed(3)
    pair = [awake(build()).eval(), awake(build()).eval()]
    noisy, words = torch.randn(1, 16, 1, 4, 4), torch.randn(2, 4, 64)
    said = words, torch.tensor([4, 4])

    def seen(level, *guidance):
        with torch.inference_mode():
            return Teacher(pair, guidance, 0.875).velocity(noisy, level, said, None)

    for level, own in ((0.9, 0), (0.8, 1)):
        plain = seen(level, 1.0, 1.0)
        pushed = [seen(level, *scales) for scales in ((3.0, 1.0), (1.0, 3.0))]
        assert (pushed[own] - plain).abs().max() > 1e-3
        assert torch.equal(pushed[1 - own], plain)


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A teacher, its words, and a corpus of image to video that is made up."""
    small_shape(monkeypatch)
    monkeypatch.setattr(trajectories, "TOKENS", 8)
    kept = {"latents": torch.randn(4, 16, 2, 4, 4), "pictures": torch.randn(4, 16, 2, 4, 4)}
    scene = asdict(Scene("red", "star", "growing", "slowly", "grey"))
    folder = tmp_path / "corpus"
    folder.mkdir()
    kept["last"] = torch.tensor([True, False, False, True])
    save_shard(folder / "5x32x32.000.safetensors", kept, scenes=[scene] * 4)
    kind = trajectories.KINDS["i2v"][0]
    small = type(kind)(5, 32, 32, 4, 1.0)
    monkeypatch.setattr(trajectories, "KINDS", {"t2v": (small,), "i2v": (small,)})
    monkeypatch.setattr("weights.train.corpus.KINDS", {"i2v": (small,)})
    return tmp_path


@pytest.mark.parametrize("task", ["t2v", "i2v"])
def test_an_interrupted_run_goes_on_where_it_was(task, words, world):
    """What is there is kept; the next shard is another one, and beside what it needs."""
    channels = 36 if task == "i2v" else 16
    pair = [awake(build(channels, 16)).eval() for _ in range(2)]
    corpus = Corpus(world / "corpus", "i2v") if task == "i2v" else None
    give = {"teacher": Teacher(pair, (3.5, 4.0), 0.875), "texts": read_texts(words)}
    write(**give, out=world / "out", minutes=0, corpus=corpus)
    assert [] == list((world / "out").iterdir())
    for shards in (1, 3):
        write(**give, out=world / "out", minutes=5, corpus=corpus, shards=shards)
    names = sorted(path.name for path in (world / "out").iterdir())
    times = [(world / "out" / name).stat().st_mtime_ns for name in names]
    clips, prompts = Shards(world / "out", "prompts", "noise").draw(
        {"5x32x32": 1.0}, 8, torch.Generator()
    )

    assert [f"5x32x32.{number:04}.safetensors" for number in range(3)] == names
    assert sorted(times) == times
    assert (len(prompts), STEPS, 16, 2, 4, 4) == tuple(clips["means"].shape)
    assert ("condition" in clips) == (task == "i2v")
