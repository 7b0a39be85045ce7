"""Inputs and outputs of the image endpoints."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from server.schemas.common import Finite, ImageFile, SourceAspectRatioEnum, WireInput
from server.schemas.groups import (
    Avoidance,
    Generation,
    Guided,
    Pictured,
    SmallScheduled,
    TwiceGuided,
)
from server.schemas.loras import Adapted

ImageSizeEnum = Literal[
    "square_hd", "square", "portrait_4_3", "portrait_16_9", "landscape_4_3", "landscape_16_9"
]
ImageFormatEnum = Literal["png", "jpeg"]

LONGEST_SIDE = 14142
"""Pixels; fal's own limit."""
MOST_PIXELS = 4096 * 4096
"""65 536 tokens of the A14B model; a video of its usual length at 720p has 75 600."""


class ImageSize(WireInput):
    """Width and height of a generated image; rounded to what the model can make."""

    width: Annotated[int, Field(gt=0, le=LONGEST_SIDE)] = 512
    """The width of the generated image, rounded to a multiple of 16 (5B: 32)."""
    height: Annotated[int, Field(gt=0, le=LONGEST_SIDE)] = 512
    """The height of the generated image, rounded to a multiple of 16 (5B: 32)."""

    @model_validator(mode="after")
    def _not_too_many_pixels(self) -> ImageSize:
        if self.width * self.height > MOST_PIXELS:
            msg = (
                f"an image may have {MOST_PIXELS} pixels (4096×4096) at most, "
                f"and {self.width}×{self.height} has {self.width * self.height}"
            )
            raise ValueError(msg)
        return self


PRESETS: dict[str, tuple[int, int]] = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
"""As in fal's own toolkit."""


def _preset(value: Any) -> Any:
    """Return the size that a preset names; an object goes on to be read as one."""
    if not isinstance(value, str):
        return value
    if value not in PRESETS:
        # Told here, in the words of a Literal: a union would tell of both its branches.
        names = [f"'{name}'" for name in get_args(ImageSizeEnum)]
        expected = f"{', '.join(names[:-1])} or {names[-1]}"
        error = "literal_error"
        raise PydanticCustomError(error, "Input should be {expected}", {"expected": expected})
    width, height = PRESETS[value]
    return ImageSize(width=width, height=height)


AnyImageSize = Annotated[
    ImageSize, BeforeValidator(_preset, json_schema_input_type=ImageSizeEnum | ImageSize)
]


def _square_hd() -> ImageSize:
    return ImageSize(width=1024, height=1024)


class Sized(WireInput):
    """The size of an image that is made of words."""

    image_size: AnyImageSize = Field(
        default_factory=_square_hd, json_schema_extra={"default": "square_hd"}
    )
    """The size of the generated image: a name, or `{"width": 1280, "height": 720}`."""


class Formatted(WireInput):
    """The kind of file an image becomes."""

    image_format: ImageFormatEnum = "jpeg"
    """The format of the output image."""


class TextToImageInput(Sized, TwiceGuided, Generation):
    """Body of `fal-ai/wan/v2.2-a14b/text-to-image`; its images are JPEGs."""

    shift: Annotated[Finite, Field(ge=1, le=10)] = 2.0
    """Shift value of the noise schedule. Must be between 1.0 and 10.0."""


class TextToImageLoraInput(Formatted, Adapted, TextToImageInput):
    """Body of `fal-ai/wan/v2.2-a14b/text-to-image/lora`."""


class ImageToImageInput(Formatted, Pictured, TwiceGuided, Generation):
    """Body of `fal-ai/wan/v2.2-a14b/image-to-image`."""

    strength: Annotated[Finite, Field(ge=0, le=1)] = 0.5
    """Denoising strength: 1.0 makes the picture anew, lower values keep more of the input."""
    aspect_ratio: SourceAspectRatioEnum = "auto"
    """Aspect ratio of the generated image. If `auto`, it is that of the input, up to 3:1."""
    shift: Annotated[Finite, Field(ge=1, le=10)] = 2.0
    """Shift value of the noise schedule. Must be between 1.0 and 10.0."""
    image_size: AnyImageSize | None = None
    """The size of the generated image. If None, it has the pixels of `square_hd` in the aspect
    ratio."""


class SmallTextToImageInput(Formatted, Sized, SmallScheduled, Guided, Avoidance, Generation):
    """Body of `fal-ai/wan/v2.2-5b/text-to-image`."""

    shift: Annotated[Finite, Field(ge=1, le=10)] = 2.0
    """Shift value of the noise schedule. Must be between 1.0 and 10.0."""


class TextToImageOutput(BaseModel):
    """What the text-to-image endpoints answer with."""

    image: ImageFile
    """The generated image file."""
    seed: int
    """The seed used for generation."""


class ImageToImageOutput(BaseModel):
    """What the image-to-image endpoint answers with."""

    image: ImageFile
    """The generated image file."""
    prompt: str = ""
    """The text prompt used for image generation."""
    seed: int
    """The seed used for generation."""
