"""What the schemas of several endpoints share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

MAX_SEED = 2**63 - 1
MAX_PROMPT = 10_000
"""Characters; far past the 512 tokens the text encoder reads."""


def _join(value: Any) -> Any:
    """Accept a list of phrases, as huggingface_hub sends it, for one negative prompt."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value


def _without_nul(text: str) -> str:
    # No one types it; C libraries on the way to the tokenizer would end the text there.
    if "\0" in text:
        msg = "NUL characters are not allowed"
        raise ValueError(msg)
    return text


def _trimmed(url: str) -> str:
    # A browser's form and a shell's quotes put spaces and line ends around what is pasted.
    return _without_nul(url.strip())


Url = Annotated[str, AfterValidator(_trimmed), Field(min_length=1)]
"""Of a file: https, http, or a data URI; only whoever fetches it knows what it may be."""
Prompt = Annotated[str, Field(max_length=MAX_PROMPT), AfterValidator(_without_nul)]
NegativePrompt = Annotated[
    str, BeforeValidator(_join), Field(max_length=MAX_PROMPT), AfterValidator(_without_nul)
]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Guidance = Annotated[Finite, Field(ge=1, le=10)]

ResolutionEnum = Literal["480p", "580p", "720p"]
SmallResolutionEnum = Literal["580p", "720p"]
"""The 5B model's; its fast variant has 480p as well."""
AspectRatioEnum = Literal["16:9", "9:16", "1:1"]
SourceAspectRatioEnum = Literal["auto", "16:9", "9:16", "1:1"]
"""Of what is made out of a picture or a video."""
AccelerationEnum = Literal["none", "regular"]
VideoQualityEnum = Literal["low", "medium", "high", "maximum"]
VideoWriteModeEnum = Literal["fast", "balanced", "small"]
InterpolatorModelEnum = Literal["none", "film", "rife"]


class WireInput(BaseModel):
    """A request body: unknown fields are ignored, and null means the default."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        return {name: value for name, value in body.items() if value is not None}


class File(BaseModel):
    """A file that the server stores."""

    url: str
    """Where to fetch it; no key is needed."""
    content_type: str | None = None
    file_name: str | None = None
    file_size: int | None = None
    """Bytes."""


class ImageFile(File):
    """An image, as fal's own has it."""

    width: int | None = None
    height: int | None = None


class VideoFile(File):
    """A video; everything past fal's own `File` is an addition of ours."""

    width: int | None = None
    height: int | None = None
    fps: float | None = None
    num_frames: int | None = None
    duration: float | None = None
    """Seconds."""
