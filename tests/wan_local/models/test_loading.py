"""A checkpoint's files become modules, or one clear error."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from tests.wan_local.plans import T2V
from wan_local.errors import BadCheckpoint
from wan_local.models.loading import load_component, open_checkpoint
from wan_local.models.weights import COMPONENTS

HEAVY = [name for name, part in COMPONENTS.items() if part.weights]


@pytest.fixture
def own(weights, tmp_path):
    """A copy of the small checkpoint that a test may damage."""
    shutil.copytree(weights / T2V, tmp_path / T2V)
    return tmp_path


def rewrite(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.mark.parametrize("name", HEAVY)
def test_every_tensor_of_the_file_is_loaded(weights, name):
    """Libraries fill what is missing with random numbers; the values must be the file's."""
    module = load_component(weights / T2V, name, torch.float32)
    stored = load_file(weights / T2V / name / COMPONENTS[name].weights)

    loaded = module.state_dict()
    assert all(torch.equal(tensor, loaded[key]) for key, tensor in stored.items())
    # The one name more is the encoder's second name for its embedding table.
    assert loaded.keys() - stored.keys() <= {"encoder.embed_tokens.weight", "shared.weight"}


@pytest.mark.parametrize("name", HEAVY)
def test_a_loaded_module_is_ready_for_inference(weights, name):
    """Dropout would make a seed meaningless, and gradients would fill the GPU."""
    module = load_component(weights / T2V, name, torch.float32)

    assert not any(part.training for part in module.modules())
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_bfloat16_leaves_in_float32_what_must_stay_there(weights):
    """Cast to bfloat16, the time embedding moves the result by 0.6 % (measured upstream)."""
    expert = load_component(weights / T2V, "transformer", torch.bfloat16)
    kept = {name for name, p in expert.named_parameters() if p.dtype == torch.float32}

    assert torch.bfloat16 == expert.dtype
    assert torch.bfloat16 == expert.blocks[0].attn1.to_q.weight.dtype
    assert kept == {
        name
        for name, _ in expert.named_parameters()
        if any(part in name for part in ("time_embedder", "scale_shift_table", "norm2"))
    }
    assert kept


def test_the_vae_stays_in_float32(weights):
    """It is stored and was trained so; half precision bands skies."""
    vae = load_component(weights / T2V, "vae", torch.bfloat16)

    assert {torch.float32} == {parameter.dtype for parameter in vae.parameters()}


def test_the_embedding_table_has_two_names_and_one_memory(weights):
    """Were the tie lost, the encoder would read random embeddings."""
    encoder = load_component(weights / T2V, "text_encoder", torch.float32)

    assert encoder.shared.weight is encoder.encoder.embed_tokens.weight


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("proj_out.weight"), "1 missing keys, such as proj_out.weight"),
        (lambda t: t.update(lora=torch.ones(1)), "1 unexpected keys, such as lora"),
        (lambda t: t.update({"proj_out.bias": torch.ones(3)}), "proj_out.bias"),
    ],
)
def test_a_file_of_another_architecture_is_refused(own, change, said):
    """It would load with a warning in a log, and every video would be noise."""
    rewrite(own / T2V / "transformer" / "diffusion_pytorch_model.safetensors", change)

    with pytest.raises(BadCheckpoint, match=said):
        load_component(own / T2V, "transformer", torch.float32)


def test_a_missing_tensor_of_the_text_encoder_is_refused(own):
    """Transformers fills it with random numbers and goes on."""
    key = "encoder.final_layer_norm.weight"
    rewrite(own / T2V / "text_encoder" / "model.safetensors", lambda t: t.pop(key))

    with pytest.raises(BadCheckpoint, match=f"1 missing keys, such as {key}"):
        load_component(own / T2V, "text_encoder", torch.float32)


@pytest.mark.parametrize("name", HEAVY)
def test_a_truncated_file_is_one_sentence(own, name):
    """A download that broke off has the right name and the wrong length."""
    path = own / T2V / name / COMPONENTS[name].weights
    path.write_bytes(path.read_bytes()[:5000])

    with pytest.raises(BadCheckpoint, match=f"{name} cannot be loaded"):
        load_component(own / T2V, name, torch.float32)


def test_pickled_weights_are_not_read(own):
    """A pickle runs code when it is opened."""
    folder = own / T2V / "vae"
    tensors = load_file(folder / "diffusion_pytorch_model.safetensors")
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(tensors, folder / "diffusion_pytorch_model.bin")

    with pytest.raises(BadCheckpoint, match="vae cannot be loaded"):
        load_component(own / T2V, "vae", torch.float32)


def test_the_tokenizer_is_the_file_and_not_a_library_s_idea_of_it(weights):
    """Transformers 5 rebuilds it without byte fallback: unknown characters get other ids."""
    tokenizer = open_checkpoint(weights, T2V).tokenizer
    raw = Tokenizer.from_file(str(weights / T2V / "tokenizer" / "tokenizer.json"))
    text = "a cat 猫 🐈 naïve"

    assert raw.encode(text).ids == tokenizer.encode(text).ids
    assert tokenizer.token_to_id("<unk>") not in tokenizer.encode(text).ids
    assert [0, 1, 2, 3] == [tokenizer.token_to_id(t) for t in ("<pad>", "</s>", "<s>", "<unk>")]


@pytest.mark.parametrize(
    ("field", "value"), [("eos_token_id", 5), ("vocab_size", 100)], ids=["end token", "too large"]
)
def test_a_tokenizer_of_another_model_is_refused(own, field, value):
    """Its ids would be looked up in a table they were not made for."""
    path = own / T2V / "text_encoder" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))

    with pytest.raises(BadCheckpoint, match="not the text encoder's"):
        open_checkpoint(own, T2V)


@pytest.mark.parametrize("file", ["tokenizer/tokenizer.json", "scheduler/scheduler_config.json"])
def test_a_broken_small_file_is_named(own, file):
    """The heavy files are not the only ones that break."""
    (own / T2V / file).write_text("{")

    with pytest.raises(BadCheckpoint, match=file):
        open_checkpoint(own, T2V)


def test_shards_load_as_one(own):
    """The published experts come in twelve files and an index."""
    folder = own / T2V / "transformer"
    whole = load_component(own / T2V, "transformer", torch.float32).state_dict()
    path = folder / "diffusion_pytorch_model.safetensors"
    names = sorted(whole)
    shards = {"part-1.safetensors": names[::2], "part-2.safetensors": names[1::2]}
    for shard, keys in shards.items():
        save_file({key: whole[key] for key in keys}, folder / shard, metadata={"format": "pt"})
    index = {
        "metadata": {"total_size": sum(tensor.nbytes for tensor in whole.values())},
        "weight_map": {key: shard for shard, keys in shards.items() for key in keys},
    }
    (folder / f"{path.name}.index.json").write_text(json.dumps(index))
    path.unlink()

    assert open_checkpoint(own, T2V)
    loaded = load_component(own / T2V, "transformer", torch.float32).state_dict()
    assert all(torch.equal(whole[key], loaded[key]) for key in names)
