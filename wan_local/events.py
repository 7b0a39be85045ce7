"""What the engine says while it works.

Each event has a `kind`, so that a stream of them survives the trip through JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from wan_local.geometry import Size


class Stage(StrEnum):
    """The stations of a plan, in travel order; also the names used in timings and logs."""

    CHECK = "check"
    """Prompt and pictures, before anything is made of them; only where it is asked for."""
    EXPAND = "expand"
    """A language model writes the prompt out; only where it is asked for."""
    LOAD = "load"
    PROMPT = "prompt"
    CONDITION = "condition"
    """Pictures and videos that came with the request -> latents."""
    DENOISE = "denoise"
    DECODE = "decode"
    """VAE decoding and video encoding, which run as one stream."""


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage is about to begin."""

    stage: Stage
    kind: Literal["stage"] = "stage"


@dataclass(frozen=True, slots=True)
class ComponentLoaded:
    """One part of the checkpoint is in main memory; *number* counts from 1 to *total*."""

    component: str
    number: int
    total: int
    kind: Literal["loaded"] = "loaded"


@dataclass(frozen=True, slots=True)
class TokensWritten:
    """The language model has written so many tokens of an expansion, of *total* at most."""

    done: int
    total: int
    kind: Literal["tokens"] = "tokens"


@dataclass(frozen=True, slots=True)
class FramesRead:
    """So many of the frames that the video is made from have been encoded."""

    done: int
    kind: Literal["read"] = "read"


@dataclass(frozen=True, slots=True)
class StepDone:
    """One denoising step is finished; *step* counts from 1 to *steps* over both experts."""

    step: int
    steps: int
    kind: Literal["step"] = "step"


@dataclass(frozen=True, slots=True)
class Previewed:
    """What the video would be if denoising ended after *step* of *steps*: a rough picture of it."""

    step: int
    steps: int
    jpeg: str
    """Base64 of a JPEG of the middle frame, at most 64 KiB and 256 pixels a side."""
    kind: Literal["preview"] = "preview"


@dataclass(frozen=True, slots=True)
class FramesWritten:
    """So many of the video's frames have gone to the encoder."""

    done: int
    total: int
    kind: Literal["frames"] = "frames"


@dataclass(frozen=True, slots=True)
class Warned:
    """Something the client asked for was not done, or not as asked; one sentence."""

    message: str
    kind: Literal["warning"] = "warning"


@dataclass(frozen=True, slots=True)
class Noted:
    """Something worth knowing of how it is done; one sentence."""

    message: str
    kind: Literal["note"] = "note"


@dataclass(frozen=True, slots=True)
class Finished:
    """The video is on disk, whole and synced."""

    path: str
    size: Size
    num_frames: int
    fps: float
    seed: int
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds spent in each stage, by the stage's name."""
    prompt: str = ""
    """The prompt that was used: the client's, or its expansion."""
    record: str = ""
    """How the file was made, as JSON (`wan_local/record.py`); empty if nobody asked."""
    kind: Literal["finished"] = "finished"


Event = (
    StageStarted
    | ComponentLoaded
    | TokensWritten
    | FramesRead
    | StepDone
    | Previewed
    | FramesWritten
    | Warned
    | Noted
    | Finished
)
