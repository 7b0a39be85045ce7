"""A language model on this device writes a prompt out, the same way every time."""

from __future__ import annotations

import pytest
import torch

from tests.wan_local.small_companions import write_language_model
from wan_local.events import TokensWritten
from wan_local.expansion import BadAnswer
from wan_local.models.language import load_language_model
from wan_local.stages.expand import ExpansionCache, expand_prompt


@pytest.fixture
def says(tmp_path):
    """Return a function that makes a language model with one answer."""
    return lambda answer: load_language_model(
        write_language_model(tmp_path / "model", answer), torch.float32
    )


def carry_out(journey):
    events = []
    while True:
        try:
            events.append(next(journey))
        except StopIteration as end:
            return events, end.value


def test_the_answer_is_the_prompt(says):
    """And each token is told, so that a cancel is heard between two of them."""
    events, text = carry_out(expand_prompt(says("a red cat runs"), "a cat", "video"))

    assert "a red cat runs" == text
    assert [TokensWritten(number, 512) for number in (1, 2, 3, 4)] == events


def test_the_same_prompt_is_the_same_text(says):
    """A retry of a job makes the same video."""
    language = says("a red cat runs")

    assert carry_out(expand_prompt(language, "a", "motion")) == carry_out(
        expand_prompt(language, "a", "motion")
    )


def test_an_answer_without_an_end_is_no_answer(says):
    """Cut off in the middle it would be half a sentence."""
    with pytest.raises(BadAnswer, match="did not end within 12 tokens"):
        carry_out(expand_prompt(says("on and on..."), "a cat", "video", limit=12))


def test_an_answer_is_cleaned(says):
    """What models add whatever they are told."""
    _, text = carry_out(expand_prompt(says('<think> hm </think> Prompt: "a cat"'), "a", "video"))

    assert "a cat" == text


def test_a_refusal_is_no_answer(says):
    """It would be painted word for word."""
    with pytest.raises(BadAnswer, match="refused"):
        carry_out(expand_prompt(says("I cannot help with that."), "a cat", "video"))


def test_the_callers_mode_is_its_own_between_tokens(says):
    """A generator that leaked inference mode would make the caller's tensors read-only."""
    journey = expand_prompt(says("a red cat"), "a cat", "video")
    next(journey)

    assert not torch.is_inference_mode_enabled()
    journey.close()


def test_a_cache_forgets_what_was_not_used_for_longest():
    """And tells apart who wrote what for what."""
    cache = ExpansionCache(capacity=2)
    cache.put("/a", "video", "cat", "1")
    cache.put("/a", "motion", "cat", "2")
    assert "1" == cache.get("/a", "video", "cat")
    cache.put("/b", "video", "cat", "3")

    assert ["1", None, "3"] == [
        cache.get(*key)
        for key in (("/a", "video", "cat"), ("/a", "motion", "cat"), ("/b", "video", "cat"))
    ]
