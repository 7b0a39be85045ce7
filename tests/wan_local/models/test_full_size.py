"""The published checkpoint, 126 GB of it, without a byte of its weights.

The modules are built on the meta device, which knows names, shapes and types only; the names must
be those that the loader fills from files.
"""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from transformers import UMT5Config, UMT5EncoderModel

from wan_local.models.loading import load_component

# transformer/config.json of Wan-AI/Wan2.2-T2V-A14B-Diffusers, the same for both experts.
EXPERT = {
    "added_kv_proj_dim": None,
    "attention_head_dim": 128,
    "cross_attn_norm": True,
    "eps": 1e-06,
    "ffn_dim": 13824,
    "freq_dim": 256,
    "image_dim": None,
    "in_channels": 16,
    "num_attention_heads": 40,
    "num_layers": 40,
    "out_channels": 16,
    "patch_size": (1, 2, 2),
    "pos_embed_seq_len": None,
    "qk_norm": "rms_norm_across_heads",
    "rope_max_seq_len": 1024,
    "text_dim": 4096,
}
KEPT = ("time_embedder", "scale_shift_table", "norm2")


@pytest.fixture(scope="module")
def expert():
    with torch.device("meta"):
        return WanTransformer3DModel(**EXPERT)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A checkpoint as deep as the published expert and as sharded, but 48 channels wide."""
    slim = {"num_attention_heads": 2, "attention_head_dim": 24, "ffn_dim": 64, "text_dim": 32}
    folder = tmp_path_factory.mktemp("narrow")
    model = WanTransformer3DModel(**EXPERT | slim)
    size = sum(parameter.nbytes for parameter in model.parameters())
    model.save_pretrained(folder / "transformer", max_shard_size=size // 11)
    return folder


def shapes(module):
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def test_an_expert_has_the_published_number_of_weights(expert):
    """14.29 billion in 1,095 tensors: the two experts are the 28 billion of the name's A14B."""
    assert 1095 == len(expert.state_dict())
    assert 14_288_491_584 == sum(parameter.numel() for parameter in expert.parameters())


def test_the_loader_fills_every_tensor_of_the_published_expert_from_shards(expert, narrow):
    """Names are the whole agreement between files and modules; the depth makes the names."""
    loaded = load_component(narrow, "transformer", torch.bfloat16)

    assert 12 <= len(list((narrow / "transformer").glob("*.safetensors")))
    assert expert.state_dict().keys() == loaded.state_dict().keys()


def test_the_published_float32_files_become_bfloat16_save_for_what_must_not(expert, narrow):
    """29 million weights per expert stay in float32: 0.1 GB of its 28.6."""
    loaded = load_component(narrow, "transformer", torch.bfloat16)
    kept = {name for name, p in loaded.named_parameters() if p.dtype == torch.float32}

    assert kept == {name for name in expert.state_dict() if any(part in name for part in KEPT)}
    assert 29_184_000 == sum(expert.get_parameter(name).numel() for name in kept)


def test_an_expert_has_the_shapes_of_the_published_files(expert):
    """5,120 channels, 16 latent channels in patches of 1×2×2, text of 4,096."""
    found = shapes(expert)

    assert (5120, 16, 1, 2, 2) == found["patch_embedding.weight"]
    assert (5120, 4096) == found["condition_embedder.text_embedder.linear_1.weight"]
    assert (5120, 256) == found["condition_embedder.time_embedder.linear_1.weight"]
    assert (30720, 5120) == found["condition_embedder.time_proj.weight"]
    assert (5120, 5120) == found["blocks.39.attn2.to_k.weight"]
    assert (13824, 5120) == found["blocks.39.ffn.net.0.proj.weight"]
    assert (1, 6, 5120) == found["blocks.39.scale_shift_table"]
    assert (64, 5120) == found["proj_out.weight"]


def test_the_text_encoder_is_umt5_xxl():
    """5.68 billion weights in 243 tensors, the embedding table counted under both its names."""
    with torch.device("meta"):
        encoder = UMT5EncoderModel(
            UMT5Config(
                vocab_size=256384, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64
            )
        )

    assert 243 == len(encoder.state_dict())
    assert 5_680_910_336 == sum(parameter.numel() for parameter in encoder.parameters())
    assert (256384, 4096) == shapes(encoder)["shared.weight"]
    # Each layer has a table of its own; T5, its ancestor, shares the first layer's.
    assert (32, 64) == shapes(encoder)[
        "encoder.block.23.layer.0.SelfAttention.relative_attention_bias.weight"
    ]


def test_the_vae_is_wan_2_1s():
    """127 million weights, 16 latent channels, 3 colours."""
    with torch.device("meta"):
        vae = AutoencoderKLWan()

    assert 194 == len(vae.state_dict())
    assert 126_892_531 == sum(parameter.numel() for parameter in vae.parameters())
    assert (16, 16, 1, 1, 1) == shapes(vae)["post_quant_conv.weight"]
    assert (3, 96, 3, 3, 3) == shapes(vae)["decoder.conv_out.weight"]
