"""A small Wan transformer, and the shortcuts that make it quick to train on a CPU."""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from wan_local.stages.prompt import MAX_TOKENS
from weights.train.clips import random_scene
from weights.train.text import DIM, Texts, phrase

SHAPE: dict[str, Any] = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 5,
    "attention_head_dim": 32,
    "text_dim": DIM,
    "freq_dim": 64,
    "ffn_dim": 480,
    "num_layers": 6,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "rope_max_seq_len": 128,
}
LONG = 300
"""Tokens of a clip from which on torch's fused attention is the quicker one."""


class ShortText:
    """Attention as Wan's, with texts that are not padded to 512 rows, and quick to train on a CPU.

    Wan attends to 512 rows of text, of which nearly all are the same padding. One row whose score
    is raised by the logarithm of their number stands for them exactly. The products are written
    out: the backward pass of torch's fused attention took half of a training step.
    """

    def __init__(self) -> None:
        self.bias: Tensor | None = None
        """[clips, 1, 1, rows of text], left by `velocity`."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        text: Tensor | None,
        _mask: None,
        rotary: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        """Attend to *text*, or to the clip itself if there is none."""
        seen = hidden_states if text is None else text
        query, key = attn.norm_q(attn.to_q(hidden_states)), attn.norm_k(attn.to_k(seen))
        heads = [x.unflatten(2, (attn.heads, -1)) for x in (query, key, attn.to_v(seen))]
        if rotary is not None:
            heads[:2] = [_rotate(x, rotary) for x in heads[:2]]
        q, k, v = (x.transpose(1, 2) for x in heads)
        if text is None and q.shape[2] > LONG:
            mixed = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            return attn.to_out[0](mixed)  # type: ignore[no-any-return]
        scores = (q @ k.transpose(2, 3)).float() / math.sqrt(q.shape[-1])
        if text is not None and self.bias is not None:
            scores = scores + self.bias
        out = (scores.softmax(-1).to(v.dtype) @ v).transpose(1, 2).flatten(2)
        return attn.to_out[0](out)  # type: ignore[no-any-return]


def _rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = (table[..., ::2].to(x.dtype) for table in rotary)
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)


def build(in_channels: int = 16, out_channels: int = 16) -> Any:
    """Return a fresh transformer whose blocks change nothing yet."""
    model = WanTransformer3DModel(in_channels=in_channels, out_channels=out_channels, **SHAPE)
    with torch.no_grad():
        embedder = model.condition_embedder
        embedder.time_proj.weight.mul_(0.1)
        for layer in (embedder.text_embedder.linear_1, embedder.text_embedder.linear_2):
            layer.bias.zero_()  # padding, which is zero, stays zero
        model.proj_out.weight.zero_()
        model.proj_out.bias.zero_()
        for block in model.blocks:
            block.scale_shift_table[:, [2, 5]] = 0
            block.attn2.to_out[0].weight.mul_(0.2)
            for layer in (block.attn2.to_k, block.attn2.to_v):
                layer.bias.zero_()
            # Queries and keys of text agree from the start, or 500 rows of padding would drown the
            # dozen rows of text, and nothing about the prompt would be learned for a long time.
            block.attn2.to_q.bias.fill_(1.5)
    return model


@torch.no_grad()
def widen(model: Any, in_channels: int) -> Any:
    """Return *model* with more channels to take in, of which it sees nothing yet."""
    if model.config.in_channels == in_channels:
        return model
    weight = model.patch_embedding.weight
    wide = WanTransformer3DModel.from_config({**model.config, "in_channels": in_channels})
    state = model.state_dict()
    state["patch_embedding.weight"] = torch.zeros(len(weight), in_channels, *weight.shape[2:])
    state["patch_embedding.weight"][:, : weight.shape[1]] = weight
    wide.load_state_dict(state)
    return wide


@torch.no_grad()
def attune(model: Any, texts: Texts, generator: torch.Generator) -> None:
    """Give the keys of text what they have in common, along the direction queries begin with."""
    said = [phrase(random_scene(generator), generator) for _ in range(64)]
    embeds, lengths = texts.embed(said)
    rows = torch.cat([row[:n] for row, n in zip(embeds, lengths.tolist(), strict=True)])
    rows = model.condition_embedder.text_embedder(rows)
    common = rows.mean(0)
    for block in model.blocks:
        keys = rows @ block.attn2.to_k.weight.T
        block.attn2.to_k.weight.mul_(1 / keys.std())
        block.attn2.to_k.weight.add_(1.5 * common[None] / common.square().sum())


def short_text(model: Any) -> ShortText:
    """Let *model*'s cross-attention take texts without their padding; return the processor."""
    processor = ShortText()
    for block in model.blocks:
        block.attn1.set_processor(processor)
        block.attn2.set_processor(processor)
    return processor


def velocity(
    model: Any, processor: ShortText, noisy: Tensor, sigma: Tensor, text: tuple[Tensor, Tensor]
) -> Tensor:
    """Return what the model predicts, the same as with texts padded to 512 rows.

    Args:
        model: The transformer.
        processor: From `short_text`.
        noisy: [clips, channels, frames, height, width].
        sigma: [clips], or [clips, tokens] for a model with a time for each token.
        text: Embeddings [clips, longest, DIM] and lengths [clips].
    """
    embeds, lengths = text
    longest = embeds.shape[1]
    bias = torch.zeros(len(embeds), longest + 1)
    bias[:, :longest].masked_fill_(torch.arange(longest)[None] >= lengths[:, None], -math.inf)
    bias[:, longest] = (MAX_TOKENS - lengths).log()
    processor.bias = bias[:, None, None]
    embeds = torch.nn.functional.pad(embeds, (0, 0, 0, 1))
    output: Tensor = model(noisy, sigma * 1000, embeds, return_dict=False)[0]
    return output.float()
