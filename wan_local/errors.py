"""Everything the engine raises on purpose.

* WanLocalError
  * InvalidPlan: the request can never succeed; the caller should change it
  * UnknownModel: no row of the catalog has this name
  * WeightsMissing: the checkpoint is not on this machine; the message holds the command to fetch it
  * BadCheckpoint: the files are there and are not what the catalog says they are
  * LoraRefused: a LoRA's file is no LoRA for this model; the message says what it is
  * OutOfMemory: the plan does not fit on this GPU
  * EncodingFailed: ffmpeg refused the frames; the message holds ffmpeg's own words
"""

from __future__ import annotations


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


class EncodingFailed(WanLocalError):
    """ffmpeg could not write the video."""
