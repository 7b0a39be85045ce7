"""A LoRA for another size of Wan is told apart before anything else is said of it."""

from __future__ import annotations

import pytest

from tests.wan_local.models.loras.worlds import MODEL, of_width
from wan_local.errors import LoraRefused
from wan_local.models.loras.layers import read_layers

A14B = {"blocks.0.attn1.to_q.weight": (5120, 5120), "blocks.1.attn1.to_q.weight": (5120, 5120)}


@pytest.mark.parametrize(
    ("width", "name"), [(3072, "Wan 2.2 TI2V-5B"), (1536, "Wan 2.1 1.3B"), (2048, "a model of")]
)
def test_a_lora_of_another_family_is_refused_by_name(width, name):
    """`Shape mismatch at blocks.0…` tells nobody that they took the 5B file."""
    with pytest.raises(LoraRefused, match=r"Wan 14B \(inner dimension 5120\)$") as caught:
        read_layers(of_width(width), A14B)

    assert f"it is for {name}" in str(caught.value)
    assert str(width) in str(caught.value)


def test_deeper_blocks_do_not_hide_the_family():
    """A 5B file has 30 blocks; on a small model most of its keys fit nowhere anyway."""
    file = {
        f"lora_unet_blocks_{i}_ffn_0.lora_{half}.weight": shape
        for i in range(30)
        for half, shape in (("down", (4, 3072)), ("up", (14336, 4)))
    }

    with pytest.raises(LoraRefused, match=r"it is for Wan 2\.2 TI2V-5B"):
        read_layers(file, MODEL)


def test_the_right_family_is_read():
    """Two layers of rank 4."""
    reading = read_layers(of_width(5120), A14B)

    assert ["blocks.0.attn1.to_q.weight", "blocks.1.attn1.to_q.weight"] == [
        layer.weight for layer in reading.layers
    ]
