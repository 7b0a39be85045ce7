"""Everything the engine raises on purpose.

* WanLocalError
  * InvalidPlan: the request can never succeed; the caller should change it
  * UnknownModel: no row of the catalog has this name
  * WeightsMissing: the checkpoint is not on this machine; the message holds the command to fetch it
  * BadCheckpoint: the files are there and are not what the catalog says they are
  * LoraRefused: a LoRA's file is no LoRA for this model; the message says what it is
  * OutOfMemory: the plan does not fit on this GPU
  * ContentRefused: a safety checker flagged what came in or what came out
  * EncodingFailed: ffmpeg refused the frames; the message holds ffmpeg's own words
  * BadMedia: a file that came with the request is not what it should be, damaged, or too large
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class WanLocalError(Exception):
    """The engine could not carry out the plan."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class InvalidPlan(WanLocalError):
    """The plan asks for something the model cannot do."""


class UnknownModel(WanLocalError):
    """No row of the catalog has this name."""


class WeightsMissing(WanLocalError):
    """The checkpoint is not on this machine."""


class BadCheckpoint(WanLocalError):
    """The checkpoint's files are not what the catalog says they are."""


class LoraRefused(WanLocalError):
    """The LoRA cannot be applied to this model."""


class OutOfMemory(WanLocalError):
    """The plan does not fit in this GPU's memory."""


class ContentRefused(WanLocalError):
    """The content was flagged by a content checker."""

    def __init__(self, message: str | None = None, part: str = "") -> None:
        """Refuse *part* of the plan: `prompt`, `first_frame` and so on; empty for the output."""
        super().__init__(message)
        self.part = part


class EncodingFailed(WanLocalError):
    """ffmpeg could not write the video."""


class BadMedia(WanLocalError):
    """A file that came with the request cannot be used."""

    def __init__(
        self,
        message: str | None = None,
        *,
        type: str = "image_load_error",
        ctx: Mapping[str, Any] | None = None,
    ) -> None:
        """Say what is wrong.

        Args:
            message: A sentence for whoever sent the file.
            type: fal's name for this error.
            ctx: The limits that it passed, by fal's names.
        """
        super().__init__(message)
        self.type = type
        self.ctx = dict(ctx or {})
