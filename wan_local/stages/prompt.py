"""Prompt text -> embeddings."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

import ftfy
import torch
from tokenizers import Tokenizer
from torch import nn

from wan_local.tensors import PromptEmbeds

MAX_TOKENS = 512
"""What Wan's transformers read; fixed by their training."""


@dataclass(frozen=True, slots=True)
class TokenIds:
    """A cleaned text as the text encoder reads it."""

    ids: tuple[int, ...]
    """At most MAX_TOKENS, the end token last."""
    full_length: int
    """How many there were before cutting."""


def clean_prompt(text: str) -> str:
    """Return *text* as Wan was trained to see it: mojibake, entities and white space mended.

    The same as diffusers' `prompt_clean` for this family, which tests compare with.
    """
    mended = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return re.sub(r"\s+", " ", mended).strip()


def tokenize(tokenizer: Tokenizer, text: str) -> TokenIds:
    """Clean *text* and turn it into ids, cut to what the transformers read."""
    ids = tokenizer.encode(clean_prompt(text)).ids
    kept = ids if len(ids) <= MAX_TOKENS else [*ids[: MAX_TOKENS - 1], ids[-1]]
    return TokenIds(tuple(kept), len(ids))


@torch.inference_mode()
def encode_prompt(encoder: nn.Module, text: TokenIds, *, device: torch.device) -> PromptEmbeds:
    """Embed *text* and pad with zeros.

    Only the text is encoded: padding is masked inside the encoder and replaced by zeros after it,
    so encoding all 512 positions gives the same embeddings for more work. The same but for the
    rounding of differently shaped products: 1e-6 in float32. The zeros are not idle: the
    transformers attend to all 512 rows.
    """
    ids = torch.tensor([text.ids], device=device)
    embeds = encoder(ids, torch.ones_like(ids)).last_hidden_state
    padding = embeds.new_zeros(1, MAX_TOKENS - embeds.shape[1], embeds.shape[2])
    return torch.cat([embeds, padding], dim=1)
