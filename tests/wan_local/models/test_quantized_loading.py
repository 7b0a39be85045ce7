"""An expert's files become an expert of 8 bits, or one clear error."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.wan_local.plans import I2V, T2V, TI2V
from wan_local.errors import BadCheckpoint
from wan_local.models.loading import load_component
from wan_local.models.quantize import FORMATS, quantize
from wan_local.models.quantized_loading import load_quantized

FILE = "diffusion_pytorch_model.safetensors"


@pytest.fixture(params=FORMATS)
def quantization(request):
    return request.param


@pytest.fixture
def own(weights, tmp_path):
    """A copy of the small expert that a test may change."""
    shutil.copytree(weights / T2V / "transformer", tmp_path / "transformer")
    return tmp_path


def rewrite(folder, change):
    tensors = load_file(folder / "transformer" / FILE)
    change(tensors)
    save_file(tensors, folder / "transformer" / FILE, metadata={"format": "pt"})


def tensors_of(module):
    """Return everything a module computes with; buffers that no file holds are part of it."""
    return dict([*module.named_parameters(), *module.named_buffers()])


@pytest.mark.parametrize(
    ("model", "dtype"),
    [(T2V, torch.float32), (T2V, torch.bfloat16), (I2V, torch.bfloat16), (TI2V, torch.bfloat16)],
)
def test_it_is_what_rounding_the_float32_expert_gives(weights, quantization, model, dtype):
    """Never through bfloat16, whose own rounding would be on top; all else as it always is."""
    found = tensors_of(load_component(weights / model, "transformer", dtype, quantization))
    plain = tensors_of(load_component(weights / model, "transformer", dtype))
    whole = load_component(weights / model, "transformer", torch.float32)
    quantize(whole, quantization)
    expected = tensors_of(whole)

    assert expected.keys() == found.keys()
    rounded = {name for name, t in expected.items() if t.dtype == FORMATS[quantization]}
    assert 20 == len(rounded)
    for name, tensor in found.items():
        of = expected if name in rounded or name.endswith("weight_scale") else plain
        assert of[name].dtype == tensor.dtype, name
        assert torch.equal(of[name].float(), tensor.float()), name


def test_it_is_ready_for_inference(weights, quantization):
    """No gradients, no dropout, and in the words of the loop: of the compute dtype."""
    expert = load_component(weights / T2V, "transformer", torch.bfloat16, quantization)

    assert torch.bfloat16 == expert.dtype
    assert not any(part.training for part in expert.modules())
    assert not any(parameter.requires_grad for parameter in expert.parameters())


@pytest.mark.parametrize("name", ["text_encoder", "vae"])
def test_what_is_no_expert_is_not_quantised(weights, name):
    """Their layers' names may look alike."""
    found = load_component(weights / T2V, name, torch.float32, "int8").state_dict()
    plain = load_component(weights / T2V, name, torch.float32).state_dict()

    assert plain.keys() == found.keys()
    assert {tensor.dtype for tensor in plain.values()} == {t.dtype for t in found.values()}


def test_shards_load_as_one(own):
    """As the published experts come, with an index; a file that it does not name is not read."""
    folder = own / "transformer"
    whole = load_component(own, "transformer", torch.float32, "int8").state_dict()
    stored = load_file(folder / FILE)
    shards = {"part-1.safetensors": sorted(stored)[::2], "part-2.safetensors": sorted(stored)[1::2]}
    for shard, keys in shards.items():
        save_file({key: stored[key] for key in keys}, folder / shard, metadata={"format": "pt"})
    map_ = {key: shard for shard, keys in shards.items() for key in keys}
    (folder / f"{FILE}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": map_}))
    (folder / FILE).write_bytes(b"of an earlier download")
    loaded = load_component(own, "transformer", torch.float32, "int8").state_dict()

    assert all(torch.equal(whole[key], loaded[key]) for key in whole)


def test_nothing_of_the_files_is_kept_open(own):
    """A mapped shard of 5 GB would stay in memory for the sake of its biases."""
    module, _ = load_quantized(own / "transformer", torch.float32, "int8")
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with (own / "transformer" / FILE).open("r+b") as file:
        file.seek(2000)
        file.write(b"\xff" * 200_000)

    assert all(torch.equal(before[name], t) for name, t in module.state_dict().items())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("proj_out.weight"), "1 missing keys, such as proj_out.weight"),
        (
            lambda t: t.pop("blocks.1.ffn.net.2.weight"),
            "1 missing keys, such as blocks.1.ffn.net.2.weight",
        ),
        (lambda t: t.update(lora=torch.ones(1)), "1 unexpected keys, such as lora"),
        (
            lambda t: t.update({"blocks.0.attn1.to_q.weight_scale": torch.ones(48, 1)}),
            "1 unexpected keys, such as blocks.0.attn1.to_q.weight_scale",
        ),
        (lambda t: t.update({"proj_out.bias": torch.ones(3)}), "proj_out.bias"),
    ],
)
def test_a_file_of_another_architecture_is_refused(own, change, said):
    """As without quantisation; and files that are quantised already are not read as if not."""
    rewrite(own, change)

    with pytest.raises(BadCheckpoint, match=said):
        load_component(own, "transformer", torch.float32, "int8")


@pytest.mark.parametrize("file", [FILE, "config.json"])
def test_a_broken_file_is_one_sentence(own, file):
    """A download that broke off."""
    path = own / "transformer" / file
    path.write_bytes(path.read_bytes()[:300])

    with pytest.raises(BadCheckpoint, match="transformer cannot be loaded"):
        load_component(own, "transformer", torch.float32, "int8")
