"""Every layout against a hand-merged truth, and every way off the weights again."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.wan_local.models.loras.by_hand import combo, original, pairs
from tests.wan_local.models.loras.layouts import LAYOUTS
from tests.wan_local.models.loras.worlds import MODEL, a_module, first_layer, written
from tests.wan_local.models.test_residency import CountedMemory
from wan_local.errors import LoraRefused
from wan_local.models.loading import load_component
from wan_local.models.loras.adapter import read_adapter
from wan_local.models.loras.applying import Weighted, applied
from wan_local.models.residency import Residency

BOTH = frozenset({"high", "low"})
NAME = "blocks.0.attn1.to_q.weight"


@pytest.fixture(scope="module")
def expert(weights):
    return load_component(weights / "wan2.2-t2v-a14b", "transformer", torch.float32)


@pytest.fixture(scope="module")
def base(expert):
    return weights_of(expert)


def weights_of(module):
    return {name: weight.detach().clone() for name, weight in module.named_parameters()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def loaded(lora, tmp_path, name="a.safetensors", scale=1.0, experts=BOTH):
    return Weighted(read_adapter(written(lora, tmp_path, name), MODEL), scale, experts)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_changes_the_weights_as_merged_by_hand(layout, expert, base, tmp_path):
    """A LoRA that is applied wrongly looks like a bad LoRA, and nobody ever finds out."""
    lora = LAYOUTS[layout](base)
    used = loaded(lora, tmp_path, scale=0.7)

    for name, truth in (("high", lora.high), ("low", lora.low)):
        with applied(expert, [used], expert=name, originals={}):
            changed = weights_of(expert)
        for key, weight in base.items():
            expected = weight.double() + 0.7 * truth.get(key, torch.zeros(()))
            assert (changed[key].double() - expected).abs().max() <= 1e-5, (name, key)
        assert same(base, weights_of(expert))
    report = used.adapter.coverage
    assert (len(lora.file) - lora.unused, len(lora.file)) == (report.applied, report.total)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e4m3fn])
def test_two_loras_are_the_same_bits_in_either_order(tmp_path, dtype):
    """The same request must give the same video, however a client sorts its list."""
    module = a_module()
    for weight in module.parameters():
        weight.data = weight.data.to(dtype)
    first = loaded(first_layer(), tmp_path, "1.safetensors", 0.3)
    second = loaded(first_layer(seed=8), tmp_path, "2.safetensors", 1.7)
    third = loaded(first_layer(seed=9), tmp_path, "3.safetensors", -0.9)
    results = []
    for order in ([first, second, third], [third, first, second], [second, third, first]):
        with applied(module, order, expert="high", originals={}):
            results.append(module.get_parameter(NAME).detach().float().clone())

    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert not torch.equal(results[0], module.get_parameter(NAME).float())


def test_each_half_of_a_combined_file_goes_to_its_expert(expert, base, tmp_path):
    """And a target narrows it further."""
    lora = combo("diffusion_model.transformer_1.", "diffusion_model.transformer_2.")
    only_low = loaded(lora, tmp_path, experts=frozenset({"low"}))

    with applied(expert, [only_low], expert="high", originals={}):
        assert same(base, weights_of(expert))
    with applied(expert, [only_low], expert="low", originals={}):
        assert not same(base, weights_of(expert))


def test_a_scale_of_nothing_changes_nothing(expert, base, tmp_path):
    """Sliders go to 0."""
    with applied(expert, [loaded(original(), tmp_path, scale=0.0)], expert="high", originals={}):
        assert same(base, weights_of(expert))


def test_the_weights_stay_where_they_are(expert, tmp_path):
    """CUDA graphs and compiled code remember addresses."""
    before = {name: weight.data_ptr() for name, weight in expert.named_parameters()}
    with applied(expert, [loaded(original(), tmp_path)], expert="high", originals={}):
        during = {name: weight.data_ptr() for name, weight in expert.named_parameters()}
    after = {name: weight.data_ptr() for name, weight in expert.named_parameters()}

    assert before == during == after


def test_switching_loras_compiles_nothing_anew(tmp_path):
    """A recompilation of a 14B expert takes longer than the video."""
    graphs = []

    def counting(graph, _inputs):
        graphs.append(graph)
        return graph.forward

    module = a_module()
    layer = torch.compile(module.get_submodule("blocks.0.attn1.to_q"), backend=counting)
    probe, outputs = torch.ones(1, 48), []
    with torch.inference_mode():
        outputs.append(layer(probe).clone())
    for seed in (7, 8):
        lora = loaded(first_layer(seed=seed), tmp_path, f"{seed}.safetensors")
        with applied(module, [lora], expert="high", originals={}), torch.inference_mode():
            outputs.append(layer(probe).clone())
    with torch.inference_mode():
        outputs.append(layer(probe).clone())
    torch._dynamo.reset()

    assert 1 == len(graphs)
    assert torch.equal(outputs[0], outputs[3])
    assert not torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[1], outputs[2])


@pytest.mark.parametrize("end", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_whatever_ends_the_block_the_weights_are_as_before(expert, base, tmp_path, end):
    """A failed job must not leave its LoRA to the next one."""
    lora = loaded(original(), tmp_path)
    with pytest.raises(end), applied(expert, [lora], expert="high", originals={}):
        raise end

    assert same(base, weights_of(expert))


def test_running_out_of_memory_half_way_is_undone(expert, base, tmp_path):
    """The first weights have been written by then."""
    lora = loaded(original(), tmp_path)
    last = list(lora.adapter.changes)[-1]
    changes = dict(lora.adapter.changes)
    parts = dict(changes[last][0].parts)
    parts["down"] = parts["down"][:, :5]  # what does not multiply fails as late as memory does
    broken = type(changes[last][0])(last, None, "lora", parts, 1.0)
    object.__setattr__(lora.adapter, "changes", changes | {last: (broken,)})

    with pytest.raises(RuntimeError), applied(expert, [lora], expert="high", originals={}):
        pytest.fail("the block must not be entered")
    assert same(base, weights_of(expert))


def test_what_takes_no_lora_is_refused_before_anything_is_written(expert, base, tmp_path):
    """A half-applied LoRA is worse than none."""
    module = a_module()
    module.blocks[0]["attn1"]["to_q"].weight = nn.Parameter(
        torch.ones(48, 48, dtype=torch.int8), requires_grad=False
    )
    lora = loaded(first_layer(), tmp_path)

    with pytest.raises(LoraRefused), applied(module, [lora], expert="high", originals={}):
        pytest.fail("the block must not be entered")


def test_where_the_host_keeps_the_original_nothing_is_copied(tmp_path):
    """Two experts of 28.6 GB are in host memory already."""
    module = a_module()
    host = {name: weight.data for name, weight in module.named_parameters()}
    for weight in module.parameters():
        weight.data = weight.data.clone()  # as if it were on a device
    device = {name: weight.data_ptr() for name, weight in module.named_parameters()}
    pristine = {name: weight.clone() for name, weight in host.items()}

    with applied(module, [loaded(first_layer(), tmp_path)], expert="high", originals=host):
        assert not torch.equal(host[NAME], module.get_parameter(NAME))
        assert same(pristine, host)
    assert same(pristine, weights_of(module))
    assert device == {name: weight.data_ptr() for name, weight in module.named_parameters()}


def test_an_expert_on_a_device_is_restored_from_its_host_copy(tmp_path):
    """The residency's own copy is the original; evicted and brought back, it has no LoRA either."""
    module = a_module()
    pristine = weights_of(module)
    models = Residency(lambda _: module, torch.device("cpu"), CountedMemory(2**30))
    lora = loaded(first_layer(), tmp_path)

    with models.hold("expert") as held:
        with applied(held, [lora], expert="high", originals=models.originals("expert")):
            assert not same(pristine, weights_of(held))
            assert same(pristine, models.originals("expert"))
        assert same(pristine, weights_of(held))


def test_a_pair_in_bfloat16_is_within_its_rounding(tmp_path):
    """The sum is made in float32 and rounded once."""
    module = a_module().to(torch.bfloat16)
    weight = module.get_parameter(NAME).double()
    lora = pairs({"blocks.0.self_attn.q": ("blocks.0.attn1.to_q", 48, 48)})
    with applied(module, [loaded(lora, tmp_path)], expert="high", originals={}):
        changed = module.get_parameter(NAME).double()

    expected = weight + lora.high[NAME]
    assert ((changed - expected).abs() <= expected.abs() * 2**-8 + 1e-7).all()


def test_float8_with_a_scale_is_restored_with_it(tmp_path):
    """Both tensors are written to; forgetting one doubles or halves the layer for good."""
    module = a_module()
    layer = module.get_submodule("blocks.0.attn1.to_q")
    layer.register_buffer("weight_scale", torch.full((48, 1), 0.001))
    layer.weight.data = (layer.weight.data / 0.001).to(torch.float8_e4m3fn)
    before = layer.weight.data.view(torch.uint8).clone(), layer.weight_scale.clone()
    merged = layer.weight.float() * 0.001 + first_layer().high[NAME].float()

    with applied(module, [loaded(first_layer(), tmp_path)], expert="high", originals={}):
        changed = layer.weight.float() * layer.weight_scale
        assert (changed - merged).abs().max() < 0.07 * merged.abs().max()
    assert torch.equal(before[0], layer.weight.data.view(torch.uint8))
    assert torch.equal(before[1], layer.weight_scale)
