"""Build a small Wan 2.2 A14B with random weights, in the exact diffusers folder layout.

    python weights/build_small.py [OUT]        # default: weights/mini

Everything is made here, offline, from a fixed seed: the same machine makes the same bytes. The
folder loads wherever `Wan-AI/Wan2.2-T2V-A14B-Diffusers` does, and serves tests, demos and
benchmarks of everything but the picture. It has learned nothing: never present it as Wan 2.2.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from build_small_safety import build as build_classifier
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanTransformer3DModel
from small_loras import build_loras
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram
from torch import nn
from transformers import UMT5Config, UMT5EncoderModel

SEED = 20250728
MODEL_ID = "wan2.2-t2v-a14b"
TEXT_DIM = 32

# <pad>, </s>, <s>, <unk>: the ids of google/umt5-xxl.
SPECIAL_TOKENS = ("<pad>", "</s>", "<s>", "<unk>")
CORPUS = """
a cat and a dog baking a cake together in a kitchen. the cat is carefully measuring flour while
the dog is stirring the batter with a wooden spoon. cinematic wide shot of an astronaut riding a
horse on the moon, slow motion, dolly zoom, golden hour, 35mm film. bright tones, overexposed,
static, blurred details, subtitles, style, works, paintings, images, worst quality, low quality,
jpeg compression residue, ugly, incomplete, extra fingers, deformed, still picture, many people
Two drops of ink fall into clear water; A red balloon rises over The city at night, 2024.
""".strip().splitlines()

# What the checkpoint generates when a full size is asked for: the same shape, about a sixth of
# each side, on the same grid of 16, so that a CPU makes 81 frames in a minute rather than a day.
WIDE_SIZES = {"832x480": (112, 64), "1024x576": (144, 80), "1280x720": (224, 128)}
SQUARE_SIZES = {"624x624": (80, 80), "768x768": (112, 112), "960x960": (160, 160)}

# Fresh layers leave the picture a flat grey and let the prompt change next to nothing; these gains
# make frames span the range of a byte and two prompts' latents differ by some 2 %. The experts'
# last layer has no gain: doubling it doubled what rounding in the text encoder (1e-6) does to the
# latents, from 7e-6 to 1.2e-5, past the 1e-5 within which tests compare with diffusers.
PICTURE_GAIN = 1.4
TEXT_GAIN = 8.0


def build(out: Path) -> Path:
    """Write the checkpoint to *out*/wan2.2-t2v-a14b and return that folder."""
    folder = out / MODEL_ID
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        vocab_size = write_tokenizer(folder / "tokenizer")
        text_encoder(vocab_size).save_pretrained(folder / "text_encoder")
        transformer().save_pretrained(folder / "transformer")
        transformer().save_pretrained(folder / "transformer_2")
        autoencoder().save_pretrained(folder / "vae")
    scheduler().save_pretrained(folder / "scheduler")
    _write_json(folder / "model_index.json", model_index())
    _write_json(folder / "wan_local.json", small_checkpoint())
    return folder


def model_index() -> dict[str, Any]:
    """Return the same table of parts as the published checkpoint's."""
    return {
        "_class_name": "WanPipeline",
        "_diffusers_version": "0.35.0",
        "boundary_ratio": 0.875,
        "expand_timesteps": False,
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"],
        "transformer": ["diffusers", "WanTransformer3DModel"],
        "transformer_2": ["diffusers", "WanTransformer3DModel"],
        "vae": ["diffusers", "AutoencoderKLWan"],
    }


def small_checkpoint() -> dict[str, Any]:
    """Return what wan-local must know of it: that it is small, and the sizes it generates."""
    sizes = {**WIDE_SIZES, **SQUARE_SIZES}
    for asked, (width, height) in WIDE_SIZES.items():
        sizes["x".join(reversed(asked.split("x")))] = (height, width)
    return {"title": "wan2.2-t2v-a14b-mini (random weights)", "sizes": sizes}


def scheduler() -> UniPCMultistepScheduler:
    """Return the published checkpoint's scheduler."""
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        num_train_timesteps=1000,
        flow_shift=3.0,
    )


def transformer() -> WanTransformer3DModel:
    """Return an expert of 0.1 M parameters; a head of 24 splits into the three axes of RoPE."""
    model = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=24,
        in_channels=16,
        out_channels=16,
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


def write_tokenizer(folder: Path) -> int:
    """Write a Unigram tokenizer with byte fallback and return the size of its vocabulary."""
    folder.mkdir(parents=True, exist_ok=True)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 20),
        model_writer=model,
        vocab_size=512,
        model_type="unigram",
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        pad_piece="<pad>",
        byte_fallback=True,
        character_coverage=1.0,
        minloglevel=2,
        hard_vocab_limit=False,
        num_threads=1,
    )
    (folder / "spiece.model").write_bytes(model.getvalue())
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    ids = range(pieces.get_piece_size())
    unigram([(pieces.id_to_piece(id), pieces.get_score(id)) for id in ids]).save(
        str(folder / "tokenizer.json")
    )
    names = dict(
        zip(("pad_token", "eos_token", "bos_token", "unk_token"), SPECIAL_TOKENS, strict=True)
    )
    _write_json(folder / "special_tokens_map.json", names)
    settings = {"tokenizer_class": "T5Tokenizer", "model_max_length": 512, "extra_ids": 0}
    _write_json(folder / "tokenizer_config.json", settings | names)
    return len(ids)


def unigram(vocabulary: list[tuple[str, float]]) -> Tokenizer:
    """Return the fast tokenizer over *vocabulary*, built like umt5's."""
    tokenizer = Tokenizer(Unigram(vocabulary, unk_id=3, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.ByteFallback(),
            decoders.Metaspace(replacement="▁", prepend_scheme="always"),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    return tokenizer


def _scale(layer: nn.Module, gain: float) -> None:
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(gain)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


if __name__ == "__main__":
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "mini"
    print(build(out))
    build_loras(out)
    build_classifier(out)
