"""Prompts are read as Wan was trained to read them."""

from __future__ import annotations

import pytest
import torch
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wan_local.plans import T2V
from wan_local.models.loading import load_component, open_checkpoint
from wan_local.stages.prompt import (
    MAX_TOKENS,
    clean_prompt,
    encode_prompt,
    tokenize,
)

CPU = torch.device("cpu")
TEXTS = ["a cat", "", "a", "two drops of ink fall into clear water " * 3, "猫 naïve 🐈", "x " * 700]


@pytest.fixture(scope="module")
def tokenizer(weights):
    return open_checkpoint(weights, T2V).tokenizer


@pytest.fixture(scope="module")
def encoder(weights):
    return load_component(weights / T2V, "text_encoder", torch.float32)


@pytest.mark.parametrize(
    "text",
    [
        "  two\n\nlines\t",
        "&amp;lt;b&amp;gt;",
        "schÃ¶n",
        "ﬁne “quotes”",
        "\ufeffbom",
        "a\u00a0b",
        "",
    ],
)
def test_a_prompt_is_cleaned_as_in_diffusers(text):
    """The same seed and words must not mean another video than elsewhere."""
    assert prompt_clean(text) == clean_prompt(text)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_prompt_is_cleaned_as_in_diffusers(text):
    """Clients send what their users type."""
    assert prompt_clean(text) == clean_prompt(text)


@pytest.mark.parametrize("text", TEXTS)
def test_embeddings_are_those_of_the_pipeline(pipeline, tokenizer, encoder, text):
    """Encoding only the text and padding with zeros differs by rounding only."""
    with torch.no_grad():
        theirs, _ = pipeline.encode_prompt(
            text, do_classifier_free_guidance=False, max_sequence_length=MAX_TOKENS
        )
    ours = encode_prompt(encoder, tokenize(tokenizer, text), device=CPU)

    assert (1, MAX_TOKENS, 32) == tuple(ours.shape)
    assert torch.allclose(theirs, ours, atol=1e-6)


def test_rows_past_the_prompt_are_zero(tokenizer, encoder):
    """The transformers attend to all 512 rows; anything but zeros there is another prompt."""
    text = tokenize(tokenizer, "a cat")
    embeds = encode_prompt(encoder, text, device=CPU)

    assert embeds[0, : len(text.ids)].abs().min() > 0
    assert 0 == embeds[0, len(text.ids) :].abs().max()


def test_a_long_prompt_is_cut_and_keeps_its_end_token(tokenizer):
    """What was cut is counted, so that the client can be told."""
    long, short = tokenize(tokenizer, "cat " * 900), tokenize(tokenizer, "cat")

    assert MAX_TOKENS == len(long.ids) < long.full_length
    assert long.ids[-1] == short.ids[-1] == 1
    assert len(short.ids) == short.full_length


def test_encoding_does_not_leave_inference_mode_behind(tokenizer, encoder):
    """A mode that leaks would make every later tensor of the process read-only."""
    encode_prompt(encoder, tokenize(tokenizer, "a cat"), device=CPU)

    assert not torch.is_inference_mode_enabled()
