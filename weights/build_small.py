"""Build a small Wan 2.2 of each kind with random weights, in the exact diffusers folder layout.

    python -m weights.build_small [OUT]        # default: weights/random

Everything is made here, offline, from a fixed seed: the same machine makes the same bytes. Each
folder loads wherever the published one does (`Wan-AI/Wan2.2-T2V-A14B-Diffusers` and its like), and
serves tests, demos and benchmarks of everything but the picture. None of them has learned
anything: never present them as Wan 2.2.

To add a kind, add a row to SMALL.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanTransformer3DModel
from torch import nn
from transformers import UMT5Config, UMT5EncoderModel

from weights.build_small_safety import build as build_classifier
from weights.small_loras import build_loras
from weights.small_tokenizer import write_tokenizer

SEED = 20250728
TEXT_DIM = 32

# What a checkpoint generates when a full size is asked for: the same shape, about a sixth of each
# side, on the grid of its model, so that a CPU makes 81 frames in a minute rather than a day. Other
# sizes are scaled like the nearest of these.
A14B_SIZES = (
    {"832x480": (112, 64), "1024x576": (144, 80), "1280x720": (224, 128)}
    | {"624x624": (80, 80), "768x768": (112, 112), "960x960": (160, 160)}
    | {"480x832": (64, 112), "576x1024": (80, 144), "720x1280": (128, 224)}
)
SIZES_OF_5B = {"832x480": (160, 96), "1024x576": (160, 96), "1280x704": (224, 128)} | {
    "480x832": (96, 160),
    "576x1024": (96, 160),
    "704x1280": (128, 224),
}

# Fresh layers leave the picture a flat grey and let the prompt change next to nothing; these gains
# make frames span the range of a byte and two prompts' latents differ by some 2 %. The experts'
# last layer has no gain: doubling it doubled what rounding in the text encoder (1e-6) does to the
# latents, from 7e-6 to 1.2e-5, past the 1e-5 within which tests compare with diffusers.
PICTURE_GAIN = 1.4
PICTURE_GAIN_OF_5B = 1.4
TEXT_GAIN = 8.0


def build(out: Path) -> list[Path]:
    """Write every checkpoint into a folder of its own in *out* and return the folders."""
    return [write(small, out) for small in SMALL]


@dataclass(frozen=True, kw_only=True)
class Small:
    """A small checkpoint: what it stands in for, and what it is made of."""

    id: str
    pipeline: str
    """The class that the published `model_index.json` names."""
    boundary: float | None
    """None for one expert, which is told the timestep of each token."""
    shift: float
    """Of the published scheduler."""
    channels: tuple[int, int]
    """Into and out of each expert."""
    vae: Callable[[], AutoencoderKLWan]
    sizes: dict[str, tuple[int, int]]
    shared: dict[str, str]
    """Parts that are those of an earlier row: component -> its id."""


def write(small: Small, out: Path) -> Path:
    """Write one checkpoint into *out* and return its folder."""
    folder = out / small.id
    experts = ["transformer"] if small.boundary is None else ["transformer", "transformer_2"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED + SMALL.index(small))  # or two experts would be one
        for part, owner in small.shared.items():
            _link(out / owner / part, folder / part)
        if "tokenizer" not in small.shared:
            vocab_size = write_tokenizer(folder / "tokenizer")
            text_encoder(vocab_size).save_pretrained(folder / "text_encoder")
        for expert in experts:
            transformer(*small.channels).save_pretrained(folder / expert)
        if "vae" not in small.shared:
            small.vae().save_pretrained(folder / "vae")
    scheduler(small.shift).save_pretrained(folder / "scheduler")
    _write_json(folder / "model_index.json", model_index(small))
    title = f"{small.id}-mini (random weights)"
    _write_json(folder / "wan_local.json", {"title": title, "sizes": small.sizes})
    return folder


def model_index(small: Small) -> dict[str, Any]:
    """Return the same table of parts as the published checkpoint's."""
    expert = ["diffusers", "WanTransformer3DModel"]
    index = {
        "_class_name": small.pipeline,
        "_diffusers_version": "0.35.0",
        "boundary_ratio": small.boundary,
        "expand_timesteps": small.boundary is None,
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"],
        "transformer": expert,
        "transformer_2": [None, None] if small.boundary is None else expert,
        "vae": ["diffusers", "AutoencoderKLWan"],
    }
    if small.pipeline == "WanImageToVideoPipeline":
        # Wan 2.1 had one; the files of 2.2 still list it.
        index |= {"image_encoder": [None, None], "image_processor": [None, None]}
    return index


def scheduler(shift: float) -> UniPCMultistepScheduler:
    """Return the published checkpoint's scheduler."""
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        num_train_timesteps=1000,
        flow_shift=shift,
    )


def transformer(channels_in: int, channels_out: int) -> WanTransformer3DModel:
    """Return an expert of 0.1 M parameters; a head of 24 splits into the three axes of RoPE."""
    model = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=24,
        in_channels=channels_in,
        out_channels=channels_out,
        text_dim=TEXT_DIM,
        freq_dim=32,
        ffn_dim=96,
        num_layers=2,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=128,
    )
    for block in model.blocks:
        _scale(block.attn2.to_out, TEXT_GAIN)
    return model


def autoencoder() -> AutoencoderKLWan:
    """Return Wan 2.1's VAE with 4 base channels; 8 were three times slower on two cores."""
    model = AutoencoderKLWan(
        base_dim=4,
        z_dim=16,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
    )
    _scale(model.decoder.conv_out, PICTURE_GAIN)
    return model


def autoencoder_of_5b() -> AutoencoderKLWan:
    """Return Wan 2.2's VAE: patches of 2, residual, 48 channels of made-up mean and scale."""
    channels = 48
    model = AutoencoderKLWan(
        base_dim=4,
        decoder_base_dim=4,
        z_dim=channels,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
        latents_mean=[(channel - 24) / 48 for channel in range(channels)],
        latents_std=[0.5 + channel / 48 for channel in range(channels)],
    )
    _scale(model.decoder.conv_out, PICTURE_GAIN_OF_5B)
    return model


def text_encoder(vocab_size: int) -> UMT5EncoderModel:
    """Return UMT5's encoder with two layers."""
    return UMT5EncoderModel(
        UMT5Config(
            vocab_size=vocab_size,
            d_model=TEXT_DIM,
            d_kv=16,
            d_ff=64,
            num_layers=2,
            num_decoder_layers=2,
            num_heads=2,
            relative_attention_num_buckets=8,
            relative_attention_max_distance=16,
            feed_forward_proj="gated-gelu",
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
        )
    )


T2V = "wan2.2-t2v-a14b"
TI2V = "wan2.2-ti2v-5b"
TEXT_OF_T2V = {"tokenizer": T2V, "text_encoder": T2V}

SMALL = [
    Small(
        id=T2V,
        pipeline="WanPipeline",
        boundary=0.875,
        shift=3.0,
        channels=(16, 16),
        vae=autoencoder,
        sizes=A14B_SIZES,
        shared={},
    ),
    Small(
        id="wan2.2-i2v-a14b",
        pipeline="WanImageToVideoPipeline",
        boundary=0.9,
        shift=3.0,
        channels=(36, 16),
        vae=autoencoder,
        sizes=A14B_SIZES,
        shared={**TEXT_OF_T2V, "vae": T2V},
    ),
    Small(
        id=TI2V,
        pipeline="WanPipeline",
        boundary=None,
        shift=5.0,
        channels=(48, 48),
        vae=autoencoder_of_5b,
        sizes=SIZES_OF_5B,
        shared=TEXT_OF_T2V,
    ),
    Small(
        id="wan2.2-ti2v-5b-fastwan",
        pipeline="WanDMDPipeline",
        boundary=None,
        shift=5.0,
        channels=(48, 48),
        vae=autoencoder_of_5b,
        sizes=SIZES_OF_5B,
        shared={**TEXT_OF_T2V, "vae": TI2V},
    ),
]


def _link(source: Path, target: Path) -> None:
    """Give the files of *source* second names in *target*; on disk they are there once."""
    target.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        (target / file.name).unlink(missing_ok=True)
        os.link(file, target / file.name)


def _scale(layer: nn.Module, gain: float) -> None:
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(gain)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


if __name__ == "__main__":
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "random"
    for folder in build(out):
        print(folder)
    build_loras(out)
    build_classifier(out)
