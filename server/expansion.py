"""A prompt -> a longer one, by a language model behind an OpenAI-compatible endpoint.

Ollama, vLLM, SGLang, LM Studio and llama.cpp all answer `POST /v1/chat/completions`. Nothing is
called unless the operator has set `expansion = "openai"`, and whatever goes wrong leaves the prompt
as the client wrote it.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpcore
import orjson

from server.media.content_types import HEAD_BYTES, content_type
from server.media.hurried import HurriedBackend
from server.settings import Settings
from wan_local.expansion import (
    INSTRUCTIONS,
    VERSION,
    BadAnswer,
    Kind,
    clean_answer,
    fallback,
    kind_of,
)
from wan_local.plan import VideoPlan

log = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 2**20
MAX_PICTURE_BYTES = 10 * 2**20
"""A larger picture is not shown to the language model; base64 makes it a third larger still."""
MAX_WRITTEN = 2048
"""Tokens that may be written; models that think first write most of them for themselves."""
SEEDS = 2**31
"""Seeds are sent modulo this: some servers read them into 32 bits."""
REMEMBERED = 256
"""Expansions that are kept."""


@dataclass(frozen=True, slots=True)
class Expanded:
    """What became of a prompt."""

    text: str | None
    """The expansion; None if the client's words are to be used."""
    remark: str
    """A sentence for the job's log: what was done, or why it was not."""


class NotExpanded(Exception):
    """There is no expansion; the message says why, in words for the client."""


class Expander:
    """Asks one endpoint; any number of threads may."""

    def __init__(self, settings: Settings) -> None:
        """Ask the endpoint that *settings* name, which must be set to one."""
        self._url = f"{(settings.expansion_url or '').rstrip('/')}/chat/completions"
        self._model = settings.expansion_model
        self._key = settings.expansion_key
        self._timeout = settings.expansion_timeout
        self._vision = settings.expansion_vision
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Any, ...], str] = OrderedDict()

    def expand(self, prompt: str, kind: Kind, *, seed: int, picture: Path | None) -> Expanded:
        """Return the expansion of *prompt*, or why there is none, within `expansion_timeout`.

        Args:
            prompt: The client's words.
            kind: Which instruction to give.
            seed: The job's, so that a model that rolls dice rolls the same ones at a retry.
            picture: What the video begins with, shown to the model if it can see.
        """
        url = _data_url(picture) if self._vision and picture is not None else None
        key = (VERSION, kind, self._model, prompt, url and hashlib.sha256(url.encode()).digest())
        text = self._recall(key)
        if text is None:
            try:
                text = clean_answer(self._ask(messages(prompt, kind, url), seed))
            except (NotExpanded, BadAnswer) as error:
                log.warning("%s: %s", self._url, error)
                return Expanded(None, fallback(str(error)))
            self._keep(key, text)
        return Expanded(text, f"the prompt was expanded by {self._model}")

    def _recall(self, key: tuple[Any, ...]) -> str | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _keep(self, key: tuple[Any, ...], text: str) -> None:
        with self._lock:
            self._kept[key] = text
            while len(self._kept) > REMEMBERED:
                self._kept.popitem(last=False)

    def _ask(self, messages: list[dict[str, Any]], seed: int) -> str:
        """Return the model's answer.

        Raises:
            NotExpanded: If there is none, for whatever reason.
        """
        body = {
            "model": self._model,
            "messages": messages,
            "temperature": 0,
            "seed": seed % SEEDS,
            "max_tokens": MAX_WRITTEN,
            "stream": False,
        }
        headers = [("Content-Type", "application/json"), ("Accept-Encoding", "identity")]
        if self._key is not None:
            headers.append(("Authorization", f"Bearer {self._key.get_secret_value()}"))
        try:
            answer = _post(self._url, headers, orjson.dumps(body), self._timeout)
        except httpcore.TimeoutException as error:
            msg = f"the language model did not answer within {self._timeout:g} s"
            raise NotExpanded(msg) from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            log.warning("%s: %r", self._url, error)
            msg = "the language model cannot be reached"
            raise NotExpanded(msg) from error
        return answer_text(answer)


def open_expander(settings: Settings) -> Expander | None:
    """Return who expands prompts before a job gets a slot, or None if nobody does."""
    return Expander(settings) if settings.expansion == "openai" else None


def expansion_of(plan: VideoPlan, expander: Expander) -> Expanded:
    """Return what *expander* makes of the prompt of *plan*."""
    picture = Path(plan.first_frame.path) if plan.first_frame is not None else None
    return expander.expand(
        plan.prompt.text, kind_of(plan), seed=plan.sampling.seed, picture=picture
    )


def with_expansion(plan: VideoPlan, expanded: str | None) -> VideoPlan:
    """Return *plan* with *expanded* in the place of the client's words, which it keeps beside.

    Nobody is to expand it again, nor if there is no expansion: it was tried.
    """
    if expanded is None:
        return replace(plan, prompt=replace(plan.prompt, expand=False))
    prompt = replace(plan.prompt, text=expanded, written=plan.prompt.text, expand=False)
    return replace(plan, prompt=prompt)


def messages(prompt: str, kind: Kind, picture: str | None) -> list[dict[str, Any]]:
    """Return the conversation: our instruction, and the client's words as they are."""
    content: Any = prompt
    if picture is not None:
        content = [
            {"type": "text", "text": prompt},
            {"type": "image_url", "image_url": {"url": picture}},
        ]
    return [
        {"role": "system", "content": INSTRUCTIONS[kind].strip()},
        {"role": "user", "content": content},
    ]


def answer_text(body: bytes) -> str:
    """Return the text in a chat completion.

    Raises:
        NotExpanded: If *body* is none.
    """
    try:
        choice = orjson.loads(body)["choices"][0]
        content = choice["message"]["content"]
        stopped = choice.get("finish_reason") == "length"
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError) as error:
        msg = "the language model's answer is not a chat completion"
        raise NotExpanded(msg) from error
    if stopped:
        msg = f"the language model's answer did not end within {MAX_WRITTEN} tokens"
        raise NotExpanded(msg)
    return content if isinstance(content, str) else ""


def _data_url(picture: Path) -> str | None:
    raw = picture.read_bytes()
    if len(raw) > MAX_PICTURE_BYTES:
        log.info("%s is too large to be shown to the language model", picture)
        return None
    type = content_type(raw[:HEAD_BYTES], picture.name)
    return f"data:{type};base64,{base64.b64encode(raw).decode()}"


def _post(url: str, headers: list[tuple[str, str]], body: bytes, seconds: float) -> bytes:
    """Post *body* and return the answer's, all within *seconds*.

    Redirects are not followed: the operator named this address and no other.

    Raises:
        NotExpanded: If the answer is no success or too long.
        httpcore.TimeoutException: If the time is over.
        httpcore.NetworkError: If the endpoint cannot be reached or breaks off.
        httpcore.ProtocolError: If it does not speak HTTP.
    """
    left = partial(_left, time.monotonic() + seconds)
    backend = HurriedBackend(httpcore.SyncBackend(), left)
    with (
        httpcore.ConnectionPool(
            ssl_context=ssl.create_default_context(), network_backend=backend
        ) as pool,
        pool.stream("POST", url, headers=headers, content=body) as response,
    ):
        if response.status != 200:
            msg = f"the language model's server answered {response.status}"
            raise NotExpanded(msg)
        return _limited(response.iter_stream())


def _limited(chunks: Iterable[bytes]) -> bytes:
    whole = b""
    for chunk in chunks:
        whole += chunk
        if len(whole) > MAX_ANSWER_BYTES:
            msg = f"the language model's answer is longer than {MAX_ANSWER_BYTES} bytes"
            raise NotExpanded(msg)
    return whole


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout
    return left
