"""A prompt -> a longer one, by a language model on the same device.

Greedy and without a time limit: the same prompt becomes the same text at every attempt, so that a
retry makes the same video.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator
from typing import Any

import torch

from wan_local.events import TokensWritten
from wan_local.expansion import INSTRUCTIONS, MAX_TOKENS, VERSION, BadAnswer, Kind, clean_answer
from wan_local.models.language import LanguageModel


class ExpansionCache:
    """Recent expansions, least recently used out first.

    The next seed of the same prompt comes at once, without moving an expert out for the language
    model and in again.
    """

    def __init__(self, capacity: int = 256) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[tuple[Any, ...], str] = OrderedDict()

    def get(self, folder: str, kind: Kind, prompt: str) -> str | None:
        """Return what the model in *folder* made of *prompt*, if that is still known."""
        key = (folder, VERSION, kind, prompt)
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def put(self, folder: str, kind: Kind, prompt: str, expanded: str) -> None:
        """Keep *expanded*."""
        self._entries[folder, VERSION, kind, prompt] = expanded
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)


@torch.inference_mode()
def expand_prompt(
    language: LanguageModel, prompt: str, kind: Kind, *, limit: int = MAX_TOKENS
) -> Generator[TokensWritten, None, str]:
    """Write *prompt* out; a word is said after each token, so that a cancel is heard there.

    Raises:
        BadAnswer: If the answer does not end within *limit* tokens, or is no prompt.
        BadCheckpoint: If the model's chat template does not take the messages.
    """
    ids = language.read(
        [
            {"role": "system", "content": INSTRUCTIONS[kind].strip()},
            {"role": "user", "content": prompt},
        ]
    )
    memory: Any = None
    written: list[int] = []
    while len(written) < limit:
        token, memory = language(ids, memory)
        if token in language.ends:
            return clean_answer(language.spell(written))
        written.append(token)
        ids = ids.new_tensor([[token]])
        yield TokensWritten(len(written), limit)
    msg = f"its answer did not end within {limit} tokens"
    raise BadAnswer(msg)
