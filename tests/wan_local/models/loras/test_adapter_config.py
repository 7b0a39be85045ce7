"""How strong an adapter is, where PEFT and diffusers write it."""

from __future__ import annotations

import json

import pytest

from wan_local.errors import LoraRefused
from wan_local.models.loras.adapter_config import (
    FILE_NAME,
    METADATA_KEY,
    AdapterConfig,
    adapter_config,
)


def test_alpha_is_divided_by_the_rank_or_its_root():
    """With rslora, rank 64 is eight times as strong."""
    assert 0.125 == AdapterConfig(8).scale("blocks.0.attn1.to_q", 64)
    assert 1 == AdapterConfig(8, rank_stabilised=True).scale("blocks.0.attn1.to_q", 64)


def test_exceptions_go_by_the_end_of_the_name():
    """`q` is not the end of `to_q`: names are compared word by word."""
    config = AdapterConfig(8, {"attn1.to_q": 2, "q": 99})

    assert 0.5 == config.scale("blocks.0.attn1.to_q", 4)
    assert 2 == config.scale("blocks.0.attn2.to_q", 4)


def test_metadata_comes_before_a_file_beside_it(tmp_path):
    """Files of diffusers carry their own; a folder may hold an older one."""
    (tmp_path / FILE_NAME).write_text(json.dumps({"lora_alpha": 1}))
    metadata = {METADATA_KEY: json.dumps({"transformer.lora_alpha": 4, "transformer.r": 4})}
    path = tmp_path / "a.safetensors"

    assert AdapterConfig(4) == adapter_config(metadata, path)
    assert AdapterConfig(1) == adapter_config({}, path)
    assert adapter_config({}, tmp_path / "other" / "a.safetensors") is None
    assert adapter_config({}) is None


def test_a_configuration_without_alpha_says_nothing():
    """Other kinds of adapters have configurations too."""
    assert adapter_config({METADATA_KEY: '{"transformer.r": 4}'}) is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "its adapter metadata is not valid JSON"),
        ("[" * 100_000, "its adapter metadata is not valid JSON"),
        ("[]", "its adapter metadata is not a JSON object"),
        ('{"lora_alpha": "8"}', "gives '8' where a number is needed"),
        ('{"lora_alpha": true}', "gives 'True' where a number is needed"),
        ('{"lora_alpha": NaN}', "gives 'nan' where a number is needed"),
        (f'{{"lora_alpha": 1{"0" * 400}}}', "where a number is needed"),
        ('{"lora_alpha": 8, "alpha_pattern": []}', None),
        ('{"lora_alpha": 8, "alpha_pattern": [1]}', "is not a table"),
        ('{"lora_alpha": 8, "alpha_pattern": {"(a+)+$": 1}}', "which is not a plain name"),
    ],
)
def test_what_cannot_be_followed_is_refused(text, sentence):
    """At the wrong strength a LoRA looks like a bad one; regular expressions of strangers hang."""
    if sentence is None:
        assert AdapterConfig(8) == adapter_config({METADATA_KEY: text})
        return
    with pytest.raises(LoraRefused, match="metadata") as caught:
        adapter_config({METADATA_KEY: text})
    assert sentence in str(caught.value)


def test_a_file_beside_it_has_a_limit(tmp_path):
    """It is read whole."""
    (tmp_path / FILE_NAME).write_bytes(b" " * (2**20 + 1))

    with pytest.raises(LoraRefused, match="beside it is larger than"):
        adapter_config({}, tmp_path / "a.safetensors")
