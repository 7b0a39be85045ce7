"""The smallest worlds that training runs in."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLWan
from transformers import UMT5EncoderModel

from weights.small_tokenizer import write_tokenizer
from weights.train import autoencoder, text, transformer


def awake(model):
    """Undo the quiet beginning: a model that changes nothing agrees with anything."""
    with torch.no_grad():
        model.proj_out.weight.normal_(0, 0.1)
        for block in model.blocks:
            block.scale_shift_table[:, [2, 5]] = 1
    return model


def small_shape(monkeypatch):
    """Make the transformers that are built next as small as they can be."""
    shape = {"num_attention_heads": 2, "ffn_dim": 64, "num_layers": 2, "attention_head_dim": 24}
    monkeypatch.setattr(transformer, "SHAPE", transformer.SHAPE | shape)


def finished(layout, folder):
    """Write an untrained VAE as if it were trained, and return it in float32."""
    torch.manual_seed(0)
    autoencoder.build(layout).half().save_pretrained(folder)
    return AutoencoderKLWan.from_pretrained(folder, torch_dtype=torch.float32).eval()


def text_side(folder):
    """Write an untrained text side: `tokenizer` and `text_encoder`."""
    torch.manual_seed(0)
    encoder = text.build(write_tokenizer(folder / "tokenizer", text.corpus()))
    encoder.half().save_pretrained(folder / "text_encoder")
    return UMT5EncoderModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
