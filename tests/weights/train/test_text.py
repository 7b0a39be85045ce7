"""Scenes in words, and words as embeddings."""

from __future__ import annotations

import pytest
import torch

from weights.small_tokenizer import write_tokenizer
from weights.train.clips import random_scene
from weights.train.text import DIM, Quiz, Texts, _say, build, corpus, phrase


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    torch.manual_seed(0)
    encoder = build(write_tokenizer(folder, corpus())).eval()  # or its dropout is on
    return Texts(folder, encoder), encoder


def test_a_phrasing_says_what_it_claims_to_say():
    """The encoder is asked only about what the words hold; a wrong label would teach it noise."""
    generator = torch.Generator().manual_seed(2)
    for _ in range(200):
        scene = random_scene(generator)
        words, said = _say(scene, generator)
        for name in said:
            assert getattr(scene, name) in words


@torch.inference_mode()
def test_past_its_end_a_text_is_zero_and_does_not_depend_on_its_neighbours(texts):
    """Texts are embedded in batches in training, and alone in the engine."""
    embedder, _ = texts
    long = "a red circle moving left slowly over a striped background"
    together, lengths = embedder.embed(["a blue star", long])
    alone, _ = embedder.embed(["a blue star"])

    assert (2, DIM) == (together.shape[0], together.shape[2])
    assert 0 == together[0, lengths[0] :].abs().max()
    assert (together[0, : lengths[0]] - alone[0]).abs().max() < 1e-5


def test_the_quiz_can_be_learned(texts):
    """A few steps lift the share of right answers well over chance."""
    embedder, encoder = texts
    torch.manual_seed(1)
    quiz, generator = Quiz(encoder), torch.Generator().manual_seed(1)
    optimiser = torch.optim.AdamW(quiz.parameters(), lr=5e-3)
    shares = []
    for _ in range(60):
        loss, right = quiz.loss(embedder, generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        shares.append(right)

    assert sum(shares[-5:]) / 5 > sum(shares[:5]) / 5 + 0.3


def test_phrasings_differ():
    """A model that knows one sentence fails at the next."""
    generator = torch.Generator().manual_seed(0)
    scene = random_scene(generator)

    assert len({phrase(scene, generator) for _ in range(60)}) > 4
