"""Linear layers of 8 bits: how far from the weight they came from, and what else they are."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.wan_local.models.rounding import half_step
from tests.wan_local.plans import T2V
from wan_local.models.loading import load_component
from wan_local.models.quantize import (
    FORMATS,
    QuantizedLinear,
    is_quantizable,
    quantize,
    quantized,
)

FLOATS = [torch.float32, torch.bfloat16]


@pytest.fixture(params=FORMATS)
def quantization(request):
    return request.param


def a_layer(dtype=torch.float32, *, bias=True):
    """Return a layer whose rows differ in size by a factor of a thousand."""
    torch.manual_seed(3)
    layer = nn.Linear(40, 24, bias=bias)
    layer.weight.data *= torch.logspace(-3, 0, 24)[:, None]
    return layer.to(dtype).requires_grad_(requires_grad=False)


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_weight_is_off_by_half_a_step_of_its_row_at_most(quantization, dtype):
    """Each row has its own scale, so a small row is as exact as a large one."""
    layer = a_layer(dtype)
    ours = QuantizedLinear.of(layer, quantization)
    weight = layer.weight.double()
    error = (ours.dequantized(torch.float32).double() - weight).abs()

    assert FORMATS[quantization] == ours.weight.dtype
    assert (24, 1) == tuple(ours.weight_scale.shape)
    assert (error <= half_step(weight, ours.weight_scale, ours.weight.dtype)).all()
    assert error.max() > 0


def test_the_largest_of_a_row_is_kept_as_it_is(quantization):
    """The scale is chosen by it; cut off, it would be the largest error of all."""
    layer = a_layer()
    found = QuantizedLinear.of(layer, quantization).dequantized(torch.float32)

    assert torch.allclose(layer.weight.abs().amax(1), found.abs().amax(1), rtol=1e-6)


def test_a_weight_and_its_negative_are_kept_alike(quantization):
    """Symmetric: a row turned round is the same row turned round."""
    layer = a_layer()
    weight, scale = quantized(layer.weight, FORMATS[quantization])
    turned, same = quantized(-layer.weight, FORMATS[quantization])

    assert torch.equal(scale, same)
    assert torch.equal(weight.float(), -turned.float())


def test_what_was_rounded_once_stays_as_it_is(quantization):
    """Else a weight would wander with every LoRA that is put on and taken off."""
    ours = QuantizedLinear.of(a_layer(), quantization)
    again, scale = quantized(ours.dequantized(torch.float32), ours.weight.dtype)

    assert torch.equal(ours.weight.float(), again.float())
    assert torch.allclose(ours.weight_scale, scale, rtol=1e-6)


def test_a_row_of_zeros_stays_one(quantization):
    """Divided by its largest value it would be NaN, and so would the whole video."""
    weight = torch.zeros(2, 4)
    weight[1, 2] = 1e-30
    kept, scale = quantized(weight, FORMATS[quantization])

    assert torch.equal(torch.zeros(4), (kept.float() * scale)[0])
    assert torch.isfinite(kept.float() * scale).all()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", FLOATS)
def test_it_multiplies_with_the_dequantised_weight(quantization, dtype, bias):
    """In the activations' dtype, whichever that is."""
    layer = a_layer(dtype, bias=bias)
    ours = QuantizedLinear.of(layer, quantization)
    inputs = torch.randn(2, 5, 40).to(dtype)
    with torch.inference_mode():
        found = ours(inputs)

    whole = (ours.weight.float() * ours.weight_scale).to(dtype)
    assert dtype == found.dtype
    assert torch.equal(functional.linear(inputs, whole, layer.bias), found)
    assert not torch.equal(layer(inputs), found)


def test_its_tensors_have_the_names_of_the_layer_s(quantization):
    """LoRAs and the residency find weights by name."""
    ours = QuantizedLinear.of(a_layer(), quantization)

    assert {"weight", "weight_scale", "bias"} == ours.state_dict().keys()
    assert not any(parameter.requires_grad for parameter in ours.parameters())


def test_it_moves_with_everything_it_has(quantization):
    """Meta stands in for a GPU: a tensor that is left behind fails the first video."""
    ours = QuantizedLinear.of(a_layer(), quantization).to("meta")

    assert {"meta"} == {tensor.device.type for tensor in ours.state_dict().values()}
    assert FORMATS[quantization] == ours.weight.dtype


def test_the_blocks_of_an_expert_are_quantised_and_nothing_else(weights, quantization):
    """Embeddings, norms and modulation are small, and every token goes through them."""
    expert = load_component(weights / T2V, "transformer", torch.bfloat16)
    before = {name: weight.dtype for name, weight in expert.named_parameters()}
    linear = {name for name, layer in expert.named_modules() if isinstance(layer, nn.Linear)}
    quantize(expert, quantization)
    changed = {n for n, layer in expert.named_modules() if isinstance(layer, QuantizedLinear)}

    # Two attentions of four projections, and two of the feed-forward, in each of two blocks.
    assert 2 * (2 * 4 + 2) == len(changed)
    assert {name for name in linear if name.startswith("blocks.")} == changed
    assert all(map(is_quantizable, changed))
    for name, weight in expert.named_parameters():
        path, _, leaf = name.rpartition(".")
        kept = FORMATS[quantization] if path in changed and leaf == "weight" else before[name]
        assert kept == weight.dtype, name
