"""A local language model with its tokenizer and chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from wan_local.errors import BadCheckpoint
from wan_local.models.classifiers import load_tokenizer, load_whole
from wan_local.models.companions import EXPANDER, find_companion

Message = dict[str, str]
"""`role` and `content`."""


class LanguageModel(nn.Module):
    """A causal language model that can be talked to."""

    def __init__(self, model: nn.Module, tokenizer: Any, ends: frozenset[int]) -> None:
        super().__init__()
        self.model: Any = model
        self.tokenizer = tokenizer
        self.ends = ends
        """Tokens that end an answer."""

    def read(self, messages: list[Message]) -> Tensor:
        """Return *messages* as the token ids that an answer is written after: [1, tokens].

        Raises:
            BadCheckpoint: If the chat template does not take them.
        """
        try:
            text = self.tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=False,  # Qwen3's template listens to it, the others pass it over
            )
        except (ValueError, TypeError, jinja2.TemplateError) as error:
            msg = f"the chat template of the language model cannot be used: {error}"
            raise BadCheckpoint(msg) from error
        # The template has written the special tokens already.
        ids = self.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        return torch.as_tensor(ids, device=self.model.device)

    @torch.inference_mode()
    def forward(self, ids: Tensor, memory: Any) -> tuple[int, Any]:
        """Return the likeliest token after *ids* and what was read before, and the new memory."""
        answer = self.model(input_ids=ids, past_key_values=memory, use_cache=True)
        return int(answer.logits[0, -1].argmax()), answer.past_key_values

    def spell(self, tokens: list[int]) -> str:
        """Return the text of *tokens*."""
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return text


def load_language_model(folder: Path, dtype: torch.dtype) -> LanguageModel:
    """Load the language model in *folder* into host memory.

    Raises:
        WeightsMissing: If it is not there.
        BadCheckpoint: If it is not whole, or has no chat template.
    """
    find_companion(EXPANDER, folder)
    tokenizer = load_tokenizer(folder)
    if not tokenizer.chat_template:
        msg = f"the tokenizer in {folder} has no chat template: this is not a model to talk to"
        raise BadCheckpoint(msg)
    model = load_whole(AutoModelForCausalLM, folder, dtype)
    return LanguageModel(model, tokenizer, _ends(model, tokenizer))


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    named = model.generation_config.eos_token_id
    listed = named if isinstance(named, list) else [named]
    return frozenset(id for id in [*listed, tokenizer.eos_token_id] if id is not None)
