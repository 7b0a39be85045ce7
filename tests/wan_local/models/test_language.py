"""A language model answers as transformers' own loop would."""

from __future__ import annotations

import shutil

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from tests.wan_local.small_companions import write_language_model
from wan_local.errors import BadCheckpoint, WeightsMissing
from wan_local.models.language import load_language_model

MESSAGES = [{"role": "system", "content": "a red"}, {"role": "user", "content": "cat"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_language_model(tmp_path_factory.mktemp("language"), "a red cat runs")


def test_messages_are_read_through_the_chat_template(folder):
    """A model without its own form of address answers nonsense."""
    language = load_language_model(folder, torch.float32)

    assert "<|system|> a red <|user|> cat <|assistant|>" == language.tokenizer.decode(
        language.read(MESSAGES)[0]
    )


def test_token_by_token_it_writes_what_generate_writes(folder, tmp_path):
    """A random Qwen3 of two layers, against transformers' greedy search."""
    random = shutil.copytree(folder, tmp_path / "random")
    torch.manual_seed(1)
    config = Qwen3Config(
        vocab_size=16, hidden_size=32, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, initializer_range=0.5,
        bos_token_id=None, eos_token_id=15, pad_token_id=0, tie_word_embeddings=True,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(random)
    language = load_language_model(random, torch.float32)
    ids = language.read(MESSAGES)
    theirs = language.model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False
    )[0, ids.shape[1] :].tolist()

    ours, memory = [], None
    while len(ours) < len(theirs):
        token, memory = language(ids, memory)
        ours.append(token)
        ids = ids.new_tensor([[token]])

    assert theirs == ours
    assert len(set(ours)) > 1


def test_every_token_that_may_end_an_answer_is_known(folder):
    """The generation's and the tokenizer's need not be the same one."""
    language = load_language_model(folder, torch.float32)

    assert {language.tokenizer.convert_tokens_to_ids("<end>")} == language.ends


def test_it_comes_in_the_dtype_that_is_asked_for(folder):
    """Four billion float32 would be twice the memory."""
    assert torch.bfloat16 == load_language_model(folder, torch.bfloat16).model.dtype


def test_a_model_without_a_chat_template_is_refused(folder, tmp_path):
    """A base model continues the instruction, it does not follow it."""
    base = shutil.copytree(folder, tmp_path / "base")
    (base / "chat_template.jinja").unlink()

    with pytest.raises(BadCheckpoint, match="no chat template"):
        load_language_model(base, torch.float32)


def test_a_template_that_takes_no_system_message_is_a_sentence(folder, tmp_path):
    """Some raise on purpose."""
    strict = shutil.copytree(folder, tmp_path / "strict")
    (strict / "chat_template.jinja").write_text("{{ raise_exception('no system role') }}")

    with pytest.raises(BadCheckpoint, match="no system role"):
        load_language_model(strict, torch.float32).read(MESSAGES)


def test_a_model_that_is_not_there_says_how_to_get_it(tmp_path):
    """In the log of the job whose prompt stays as it was."""
    with pytest.raises(WeightsMissing, match="hf download Qwen/Qwen3-4B-Instruct-2507"):
        load_language_model(tmp_path / "none", torch.float32)
