"""What is refused, what is left out with a reason, and that nothing is left out without one."""

from __future__ import annotations

import pytest

from tests.wan_local.models.loras.by_hand import (
    combo,
    distilled,
    kohya,
    of_the_other_task,
    original,
    pairs,
    with_image_keys,
)
from tests.wan_local.models.loras.worlds import MODEL, shapes_of
from wan_local.errors import LoraRefused
from wan_local.models.loras.layers import read_layers


def read(lora, **more):
    return read_layers(shapes_of(lora) | more, MODEL)


def test_every_key_of_a_distilled_file_is_for_a_weight():
    """Norms, biases, modulations: dropping them makes a four-step video a blur."""
    reading = read(distilled())
    used = {key for layer in reading.layers for key in layer.tensors.values()}

    assert set(distilled().file) == used
    assert {} == reading.dropped


def test_a_key_that_fits_nowhere_refuses_the_file():
    """Applying the rest would be a wrong video and no error."""
    more = {f"diffusion_model.blocks.{i}.self_attn.q.lora_A.weight": (4, 48) for i in range(2, 7)}

    with pytest.raises(LoraRefused, match=r"no layer that .*blocks.2.* and 2 more could change"):
        read(original(), **more)


def test_half_a_pair_refuses_the_file():
    """A file that was cut off, or written by a broken exporter."""
    lora = original()
    del lora.file["diffusion_model.blocks.0.ffn.0.lora_B.weight"]

    with pytest.raises(LoraRefused, match=r"ffn.0.lora_A.weight: the other half is missing"):
        read(lora)


def test_a_checkpoint_is_not_a_lora():
    """The commonest mistake, in the words of whoever makes it."""
    with pytest.raises(LoraRefused, match=r"it holds whole weights: a checkpoint: "):
        read_layers(MODEL, MODEL)


def test_unknown_endings_are_listed_and_counted():
    """Three keys are enough to search the web for."""
    with pytest.raises(LoraRefused, match=r"what no known LoRA layout has: a\.x, b\.x, c\.x and 1"):
        read_layers({f"{name}.x": (1,) for name in "abcd"}, MODEL)


def test_the_same_part_twice_is_refused():
    """Two adapters in one file: which of them was meant?"""
    twice = {"diffusion_model.blocks.0.self_attn.q.lora_A.second.weight": (4, 48)}

    with pytest.raises(LoraRefused, match="are the same part of one layer"):
        read(original(), **twice)


def test_image_cross_attention_is_left_out_with_its_reason():
    """Wan 2.1's four-step LoRA is used on 2.2 by everybody; its extra keys have no place there."""
    reading = read(with_image_keys())

    assert {
        "image cross-attention of Wan 2.1 image-to-video, which this model does not have": 14
    } == reading.dropped


def test_the_other_task_s_patch_embedding_is_left_out_with_its_reason():
    """The blocks of text-to-video and image-to-video are interchangeable, their inputs are not."""
    assert {"a patch embedding for 48x36x1x2x2, where this model's is 48x16x1x2x2": 1} == read(
        of_the_other_task()
    ).dropped


def test_alpha_without_a_pair_is_left_out_with_its_reason():
    """AccVid's time projection has a bias and an alpha."""
    stray = {"lora_unet_head_head.alpha": (), "lora_unet_head_head.diff_b": (64,)}

    assert {"alpha or dora_scale without a change that it scales": 1} == read(
        kohya(), **stray
    ).dropped


def test_a_change_of_the_wrong_shape_names_both():
    """Width is right, the layer is not."""
    lora = original()
    more = {
        "diffusion_model.head.head.lora_A.weight": (4, 48),
        "diffusion_model.head.head.lora_B.weight": (192, 4),
    }

    with pytest.raises(LoraRefused, match=r"weight is for a weight of 192x48; .* 64x48"):
        read(lora, **more)


def test_the_halves_of_a_combined_file_know_their_expert():
    """`transformer.` is the high-noise expert beside `transformer_2.`, and any expert alone."""
    both = read(combo("transformer.", "transformer_2.", named="theirs"))
    alone = read(pairs(prefix="transformer."))

    assert {"high": 20, "low": 20} == {
        expert: sum(layer.expert == expert for layer in both.layers) for expert in ("high", "low")
    }
    assert {None} == {layer.expert for layer in alone.layers}
