"""Looking at prompts, pictures and frames, and refusing what is flagged.

Each check is a function of what it looks at; a classifier is lent to it by its caller.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor

from wan_local.errors import BadCheckpoint, ContentRefused, WeightsMissing
from wan_local.plan import SafetySpec
from wan_local.tensors import Frames

log = logging.getLogger(__name__)

NEVER = re.compile(r"(?!)")
"""Matches nothing: the pattern of an empty list of words."""


class Classifier(Protocol):
    """What a check needs of a classifier of pictures."""

    labels: list[str]

    def __call__(self, frames: Frames) -> Tensor:
        """Return [frames, labels], a probability each."""
        ...


class TextReader(Protocol):
    """What a check needs of a classifier of texts."""

    labels: list[str]

    def __call__(self, text: str) -> Tensor:
        """Return [windows, labels], a probability each."""
        ...


class OutputCheck:
    """Looks at the frames of one video while they stream past.

    The frames it samples are spread over the whole of it, the first and the last among them; one
    that is flagged is enough.
    """

    def __init__(self, classifier: Classifier, safety: SafetySpec, *, num_frames: int) -> None:
        self._classifier = classifier
        self._safety = safety
        self._sampled = sampled_frames(num_frames, safety.samples)
        self._num_frames = num_frames
        self._distance = max(1, num_frames // safety.samples)
        self._seen = 0

    def look(self, frames: Frames) -> None:
        """Look at the next *frames* of the video.

        Raises:
            ContentRefused: If one of them is flagged.
            BadCheckpoint: If the classifier has none of the labels that are looked for.
        """
        chosen = [i for i in range(len(frames)) if self._is_sampled(self._seen + i)]
        first, self._seen = self._seen, self._seen + len(frames)
        if not chosen:
            return
        scores = flagged(self._classifier(frames[chosen]), self._classifier.labels, self._safety)
        worst = int(scores.argmax())
        score, frame = float(scores[worst]), first + chosen[worst] + 1
        log.info("output check: %.3f at most up to frame %d", score, self._seen)
        if score > self._safety.threshold:
            where = f"frame {frame} of {self._num_frames}" if self._num_frames > 1 else "the image"
            verdict = _verdict(score, self._safety)
            msg = f"The output was flagged by the content checker: {verdict} in {where}"
            raise ContentRefused(msg)

    def _is_sampled(self, frame: int) -> bool:
        # A stream that goes on past its announced end is looked at as closely there.
        return frame in self._sampled or (frame >= self._num_frames and frame % self._distance == 0)


def check_pictures(
    classifier: Classifier, frames: Frames, safety: SafetySpec, *, part: str
) -> None:
    """Look at the pictures of an input, all of *frames*.

    Raises:
        ContentRefused: If one of them is flagged; it names *part* of the plan.
        BadCheckpoint: If the classifier has none of the labels that are looked for.
    """
    score = float(flagged(classifier(frames), classifier.labels, safety).max())
    log.info("input check: %s has %.3f", part, score)
    if score > safety.threshold:
        msg = f"The input was flagged by the content checker: {_verdict(score, safety)}"
        raise ContentRefused(msg, part)


def check_text(reader: TextReader, text: str, safety: SafetySpec) -> None:
    """Let a classifier read *text*.

    Raises:
        ContentRefused: If it is flagged.
        BadCheckpoint: If the classifier has none of the labels that are looked for.
    """
    score = float(flagged(reader(text), reader.labels, safety).max())
    log.info("prompt check: %.3f", score)
    if score > safety.threshold:
        msg = f"The prompt was flagged by the content checker: {_verdict(score, safety)}"
        raise ContentRefused(msg, "prompt")


def check_words(words: re.Pattern[str], text: str) -> None:
    """Look for *words* in *text*.

    Raises:
        ContentRefused: If one of them is there; it says which.
    """
    found = words.search(folded(text))
    if found:
        msg = f"The prompt holds {found[0]!r}, which is on this server's list of refused words"
        raise ContentRefused(msg, "prompt")


def read_words(path: Path) -> re.Pattern[str]:
    """Read a list of words: one word or phrase a line, `#` before a remark.

    Raises:
        WeightsMissing: If the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        msg = f"the list of refused words, {path}, cannot be read (setting safety_words): {error}"
        raise WeightsMissing(msg) from error
    return word_pattern(line.partition("#")[0] for line in lines)


def word_pattern(phrases: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that finds *phrases* in a text that was `folded`.

    Whole words only: `ass` does not stand in `grass`. Scripts that write without spaces have no
    words in this sense, so theirs are found anywhere.
    """
    found = [_phrase(folded(phrase)) for phrase in phrases if phrase.strip()]
    return re.compile("|".join(found)) if found else NEVER


def folded(text: str) -> str:
    """Return *text* without what disguises a word: case, width, compatibility letters."""
    return unicodedata.normalize("NFKC", text).casefold().strip()


def sampled_frames(num_frames: int, samples: int) -> frozenset[int]:
    """Return the indices of *samples* frames that are spread evenly over *num_frames*."""
    if samples == 1 or num_frames == 1:
        return frozenset({(num_frames - 1) // 2})
    last = num_frames - 1
    return frozenset(round(i * last / (samples - 1)) for i in range(samples))


def flagged(probabilities: Tensor, labels: Sequence[str], safety: SafetySpec) -> Tensor:
    """Return how likely each row of *probabilities* is one of the labels that are looked for.

    Raises:
        BadCheckpoint: If the classifier knows none of them.
    """
    columns = [index for index, label in enumerate(labels) if label in safety.labels]
    if not columns:
        msg = (
            f"a classifier tells {', '.join(labels)} apart, and is asked for "
            f"{', '.join(safety.labels)} (setting safety_labels)"
        )
        raise BadCheckpoint(msg)
    return probabilities[:, columns].amax(dim=1)


def _phrase(phrase: str) -> str:
    body = r"\s+".join(re.escape(word) for word in phrase.split())
    before = r"(?<!\w)" if _has_words(phrase[0]) else ""
    after = r"(?!\w)" if _has_words(phrase[-1]) else ""
    return before + body + after


def _has_words(character: str) -> bool:
    """Whether *character* is of a script that puts spaces between words."""
    return unicodedata.east_asian_width(character) not in {"W", "F"}


def _verdict(score: float, safety: SafetySpec) -> str:
    return f"{'/'.join(safety.labels)} {score:.2f}, above {safety.threshold:g}"
