"""Distilling an expert into four steps."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from tests.weights.train.worlds import awake, small_shape
from wan_local.catalog import LORAS
from wan_local.models.loras.adapter import read_adapter
from wan_local.models.loras.applying import Weighted, applied
from weights.train import corpus, trajectories, turbo
from weights.train.corpus import Kind
from weights.train.experts import read_texts
from weights.train.loras import Lora
from weights.train.shards import Shards
from weights.train.trajectories import Teacher, levels, states, write
from weights.train.transformer import build, short_text, velocity
from weights.train.turbo import Lesson, train

pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")

KINDS = {"t2v": (Kind(5, 32, 32, 8, 1.0),), "i2v": (Kind(5, 32, 32, 8, 1.0),)}


@pytest.fixture
def lesson(words, tmp_path, monkeypatch):
    """The journeys of two tiny experts, and the experts."""
    small_shape(monkeypatch)
    for module in (corpus, trajectories, turbo):
        monkeypatch.setattr(module, "KINDS", KINDS)
    monkeypatch.setattr(trajectories, "TOKENS", 64)
    monkeypatch.setattr(turbo, "TOKENS", 64)
    torch.manual_seed(3)
    pair = [awake(build()).eval().requires_grad_(requires_grad=False) for _ in range(2)]
    teacher = Teacher(pair, (3.5, 4.0), 0.875)
    write(teacher, read_texts(words), tmp_path / "shards", minutes=5, shards=2)
    shards = Shards(tmp_path / "shards", "prompts", "noise")
    return Lesson(shards, read_texts(words), "t2v"), pair


def test_each_half_learns_the_steps_that_its_expert_takes(lesson):
    """Two and two, as the turbo endpoints run them; for image to video likewise."""
    for task in ("t2v", "i2v"):
        halves = Lesson(lesson[0].shards, lesson[0].texts, task)
        assert [0, 1] == halves.steps_of("high").tolist()
        assert [2, 3] == halves.steps_of("low").tolist()


@torch.no_grad()
def test_four_steps_arrive_nearer_where_the_teacher_does(lesson, tmp_path):
    """With the files as the engine reads them, and without guidance."""
    lesson, pair = lesson
    generator, adapters = torch.Generator().manual_seed(0), []
    for half, expert in zip(("high", "low"), pair, strict=True):
        lora, processor = Lora(expert, rank=8, whole=True), short_text(expert)
        optimiser = torch.optim.Adam(lora.parameters(), lr=1e-2)
        with torch.enable_grad():
            for _ in range(40):  # by steps and not by the clock: a busy machine learns as much
                student = partial(velocity, lora.on(expert), processor)
                optimiser.zero_grad()
                lesson.errors(student, half, generator).mean().backward()
                optimiser.step()
        lora.save(tmp_path / half, "lightx2v")
        shapes = {name: tuple(p.shape) for name, p in expert.named_parameters()}
        adapters.append(read_adapter(tmp_path / half, shapes))
    clips, prompts = lesson.shards.draw({"5x32x32": 1.0}, 64, generator)
    end, said = states(clips["noise"], clips["means"])[:, -1], lesson.texts.embed(prompts)

    def arrived(strength):
        latents, way = clips["noise"], levels(4)
        for step in range(4):
            side = step // 2
            predict = partial(velocity, pair[side], short_text(pair[side]))
            put = [Weighted(adapters[side], strength, frozenset({"high"}))]
            with applied(pair[side], put, expert="high", originals={}):
                seen = predict(latents, way[step].expand(len(latents)), said)
            latents = latents + seen * (way[step + 1] - way[step])
        return latents

    assert (arrived(1.0) - end).std() < 0.7 * (arrived(0.0) - end).std()


def test_a_half_is_written_where_the_turbo_endpoints_look(lesson, tmp_path):
    """Under its published name, from one command; a run that is over is not run again."""
    lesson, pair = lesson
    for _ in range(2):
        train(lesson, pair[1], "low", tmp_path / "out", minutes=0.002)
    file = tmp_path / "out" / LORAS["wan2.2-t2v-a14b-4step"].low
    shapes = {name: tuple(p.shape) for name, p in pair[1].named_parameters()}

    assert shapes.keys() == read_adapter(file, shapes).changes.keys()
