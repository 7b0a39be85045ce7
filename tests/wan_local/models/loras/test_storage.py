"""Weights that are not plain float32."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.wan_local.models.loras.worlds import a_module
from tests.wan_local.models.rounding import half_step
from wan_local.errors import LoraRefused
from wan_local.models.loras.storage import storage_of

NAME = "blocks.0.attn1.to_q.weight"


def layer(module):
    return module.get_submodule("blocks.0.attn1.to_q")


def test_bfloat16_is_written_as_the_nearest():
    """What a bf16 expert would be if it had been trained so."""
    module = a_module().to(torch.bfloat16)
    storage = storage_of(module, NAME)
    value = storage.read() + 0.1
    storage.write(value)

    assert torch.float32 == storage.read().dtype
    assert torch.equal(value.to(torch.bfloat16), layer(module).weight)


def test_float8_without_a_scale_is_cut_off_and_not_broken():
    """Past 448 the conversion makes NaN."""
    module = a_module()
    layer(module).weight.data = layer(module).weight.data.to(torch.float8_e4m3fn)
    storage = storage_of(module, NAME)
    storage.write(storage.read() + 500)

    assert {448.0} == set(storage.read().flatten().tolist())


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("scale_name", ["weight_scale", "scale_weight"])
def test_float8_with_a_scale_gets_a_new_one(rows, scale_name):
    """With the old one, what a LoRA makes larger would be cut off."""
    module = a_module()
    scale = torch.full((48, 1) if rows else (), 0.001)
    layer(module).register_buffer(scale_name, scale)
    layer(module).weight.data = (layer(module).weight.data / 0.001).to(torch.float8_e4m3fn)
    storage = storage_of(module, NAME)
    value = storage.read() * 5
    storage.write(value)

    assert {NAME, f"blocks.0.attn1.to_q.{scale_name}"} == set(storage.tensors)
    # 3 bits of mantissa, and a step of 2**-9 below the smallest normal number
    room = value.abs() / 16 + value.abs().amax() / 448 / 512
    assert ((storage.read() - value).abs() <= room).all()


@pytest.mark.parametrize("rows", [False, True])
def test_int8_with_a_scale_gets_a_new_one(rows):
    """Rounded to the nearest, not towards zero: that would make every LoRA a little weaker."""
    module = a_module()
    scale = torch.full((48, 1) if rows else (), 0.002)
    layer(module).register_buffer("weight_scale", scale)
    kept = (layer(module).weight.data / 0.002).round().clamp(-127, 127).to(torch.int8)
    layer(module).weight = nn.Parameter(kept.clone(), requires_grad=False)
    storage = storage_of(module, NAME)
    value = storage.read() * 5 + 0.001
    storage.write(value)

    assert torch.equal(kept.float() * 0.002 * 5 + 0.001, value)
    new = value.abs().amax(1, keepdim=True) if rows else value.abs().amax()
    assert ((storage.read() - value).abs() <= half_step(value, new / 127)).all()
    assert 127 == layer(module).weight.data.abs().max()


def test_what_no_lora_can_change_is_refused_by_name():
    """A silently skipped layer is a wrong video: int8 without a scale means nothing."""
    module = a_module()
    layer(module).weight = nn.Parameter(torch.ones(48, 48, dtype=torch.int8), requires_grad=False)

    with pytest.raises(LoraRefused, match=r"to_q.weight is kept as Tensor of torch.int8"):
        storage_of(module, NAME)


class Packed(torch.Tensor):
    """What quantisation libraries put in the place of a weight."""


def test_a_quantisation_library_s_tensor_is_refused_by_its_name():
    """Its bytes mean something else than they look like."""
    module = a_module()
    packed = torch.randn(48, 48).as_subclass(Packed)
    layer(module).weight = nn.Parameter(packed, requires_grad=False)

    with pytest.raises(LoraRefused, match="is kept as Packed"):
        storage_of(module, NAME)
