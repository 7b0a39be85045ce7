"""Eight spellings of two halves, and a dozen other endings."""

from __future__ import annotations

import pytest

from wan_local.models.loras.grammar import KeyParts, foreign_kind, take_apart

STEM = "blocks.0.self_attn.q"


@pytest.mark.parametrize(
    ("ending", "part"),
    [
        (".lora_down.weight", "down"),
        (".lora_A.weight", "down"),
        (".lora_A.default.weight", "down"),
        (".lora_A.my-style.weight", "down"),
        (".lora_A", "down"),
        (".lora_A.default", "down"),
        ("_lora.down.weight", "down"),
        (".lora.down.weight", "down"),
        (".lora_linear_layer.down.weight", "down"),
        (".lora_up.weight", "up"),
        (".lora_B.default_0.weight", "up"),
        ("_lora.up.weight", "up"),
        (".lora_B.bias", "up_bias"),
        (".lora_B.default.bias", "up_bias"),
        (".lora_mid.weight", "mid"),
        (".alpha", "alpha"),
        (".lora_alpha", "alpha"),
        (".lora.alpha", "alpha"),
        (".dora_scale", "dora"),
        (".lora_magnitude_vector.default.weight", "dora"),
        (".diff", "diff"),
        (".w_norm", "diff"),
        (".diff_b", "diff_b"),
        (".b_norm", "diff_b"),
        (".diff_m", "diff_m"),
        (".hada_w1_a", "hada_w1_a"),
        (".hada_t2", "hada_t2"),
        (".lokr_w2", "lokr_w2"),
        (".lokr_w1_b", "lokr_w1_b"),
    ],
)
def test_an_ending_says_which_part_it_is(ending, part):
    """Every trainer has a spelling of its own."""
    assert KeyParts(STEM, part, None) == take_apart(STEM + ending)


@pytest.mark.parametrize(
    ("prefix", "expert", "first"),
    [
        ("", None, False),
        ("diffusion_model.", None, False),
        ("model.diffusion_model.", None, False),
        ("base_model.model.", None, False),
        ("base_model.model.transformer.", None, True),
        ("pipe.dit.", None, True),
        ("unet.", None, False),
        ("transformer.", None, True),
        ("transformer_2.", "low", False),
        ("diffusion_model.transformer_1.", "high", False),
        ("diffusion_model.transformer_2.", "low", False),
        ("pipe.dit2.", "low", False),
    ],
)
def test_a_prefix_is_taken_off_and_may_name_an_expert(prefix, expert, first):
    """Prefixes are what half of all failures to load a LoRA are about."""
    assert KeyParts(STEM, "alpha", expert, first) == take_apart(f"{prefix}{STEM}.alpha")


@pytest.mark.parametrize("prefix", ["lora_unet_", "lora_unet__", "lora_transformer_", "lycoris_"])
def test_a_flat_name_loses_its_prefix_only(prefix):
    """Where its dots were cannot be told without the model."""
    parts = take_apart(f"{prefix}blocks_0_self_attn_q.lora_down.weight")

    assert KeyParts("blocks_0_self_attn_q", "down", None) == parts


def test_attention_processors_of_old_releases_are_read():
    """`processor` stands between a layer's owner and its name."""
    parts = take_apart("transformer.blocks.0.attn1.processor.to_q_lora.down.weight")

    assert KeyParts("blocks.0.attn1.to_q", "down", None, True) == parts


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("blocks.0.self_attn.q.oft_blocks", "OFT rotations"),
        ("blocks.0.self_attn.q.a1.weight", "GLoRA"),
        ("blocks.0.self_attn.q.set_weight", "whole weights in the place of changes"),
        ("model.blocks.0.self_attn.q.weight", "whole weights: a checkpoint"),
        ("optimizer.state.0", None),
    ],
)
def test_what_cannot_be_applied_has_a_name(key, kind):
    """A checkpoint given for a LoRA is the commonest mistake of all."""
    assert take_apart(key) is None
    assert kind == foreign_kind(key)
