"""Groups of fields that the inputs of the endpoints are put together from.

Names, ranges and usual defaults are those of the hosted API page; an input that has another default
says so itself. Docstrings become the field texts. To add a field that many endpoints have, add it
to its group and to `PAGE_ORDER`.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from server.schemas.common import (
    AccelerationEnum,
    Finite,
    Guidance,
    InterpolatorModelEnum,
    NegativePrompt,
    Prompt,
    ResolutionEnum,
    Seed,
    Url,
    VideoQualityEnum,
    VideoWriteModeEnum,
    WireInput,
)

# Forms are drawn in this order, which is the page's; inheritance would make up one of its own.
PAGE_ORDER = (
    "image_url",
    "video_url",
    "prompt",
    "strength",
    "num_frames",
    "frames_per_second",
    "negative_prompt",
    "seed",
    "resolution",
    "aspect_ratio",
    "num_inference_steps",
    "enable_safety_checker",
    "enable_output_safety_checker",
    "enable_prompt_expansion",
    "acceleration",
    "guidance_scale",
    "guidance_scale_2",
    "shift",
    "interpolator_model",
    "num_interpolated_frames",
    "adjust_fps_for_interpolation",
    "video_quality",
    "video_write_mode",
    "end_image_url",
    "loras",
    "reverse_video",
    "resample_fps",
    "image_size",
    "image_format",
)


class Generation(WireInput):
    """What every endpoint takes."""

    prompt: Prompt
    """The text prompt to guide generation."""
    seed: Seed | None = None
    """Random seed for reproducibility. If None, a random seed is chosen."""
    enable_safety_checker: bool = False
    """If set to true, input data will be checked for safety before processing."""
    enable_output_safety_checker: bool = False
    """If set to true, the output will be checked for safety after generation."""
    enable_prompt_expansion: bool = False
    """Whether to let a language model add detail to the prompt while keeping its meaning."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Put the fields in the page's order."""
        schema = handler.resolve_ref_schema(handler(core))
        fields = schema["properties"]
        order = sorted(fields, key=PAGE_ORDER.index)
        if order[0] == "prompt" and "negative_prompt" in order:
            # Where no file is named first, the page has the two prompts together.
            order.remove("negative_prompt")
            order.insert(1, "negative_prompt")
        schema["properties"] = {name: _on_one_line(fields[name]) for name in order}
        # fal's own documents say it once more, for readers that sort what they parse.
        schema["x-fal-order-properties"] = order
        return schema


def _on_one_line(field: dict[str, Any]) -> dict[str, Any]:
    return field | {"description": " ".join(field["description"].split())}


class Avoidance(WireInput):
    """What is not to be seen."""

    negative_prompt: NegativePrompt = ""
    """Negative prompt: what to avoid."""


class Guided(WireInput):
    """Guidance of the only, or first, expert."""

    guidance_scale: Guidance = 3.5
    """Classifier-free guidance scale. Higher values follow the prompt more closely, and may lower
    the quality."""


class Scheduled(WireInput):
    """The noise schedule of the A14B models."""

    num_inference_steps: Annotated[int, Field(ge=2, le=40)] = 27
    """Number of denoising steps. More steps give better quality and take longer."""
    shift: Annotated[Finite, Field(ge=1, le=10)] = 5.0
    """Shift value of the noise schedule. Must be between 1.0 and 10.0."""


class SmallScheduled(WireInput):
    """The noise schedule of the 5B model."""

    num_inference_steps: Annotated[int, Field(ge=2, le=50)] = 40
    """Number of denoising steps. More steps give better quality and take longer."""
    shift: Annotated[Finite, Field(ge=1, le=10)] = 5.0
    """Shift value of the noise schedule. Must be between 1.0 and 10.0."""


class TwoExperts(WireInput):
    """What only the A14B models have."""

    acceleration: AccelerationEnum = "regular"
    """Acceleration level: the more acceleration, the faster, at lower quality."""


class TwiceGuided(TwoExperts, Scheduled, Guided, Avoidance):
    """Everything about sampling with two experts."""

    guidance_scale_2: Guidance = 4.0
    """Classifier-free guidance scale of the second (low noise) stage."""


class Video(Generation):
    """What every video has."""

    resolution: ResolutionEnum = "720p"
    """Resolution of the generated video."""
    video_quality: VideoQualityEnum = "high"
    """Quality of the output video; higher means a larger file."""
    video_write_mode: VideoWriteModeEnum = "balanced"
    """Fast writes the largest file soonest, small the smallest file latest."""


class Timed(Video):
    """Frames, and frames between frames."""

    num_frames: Annotated[int, Field(ge=17, le=161)] = 81
    """Number of frames to generate. Must be between 17 to 161 (inclusive)."""
    frames_per_second: Annotated[int, Field(ge=4, le=60)] = 16
    """Frames per second of the generated video, before interpolation. Must be between 4 to 60."""
    interpolator_model: InterpolatorModelEnum = "film"
    """The model to use for frame interpolation; `none` interpolates nothing."""
    num_interpolated_frames: Annotated[int, Field(ge=0, le=4)] = 1
    """Number of frames to interpolate between each pair of generated frames, 0 to 4."""
    adjust_fps_for_interpolation: bool = True
    """If true, the frame rate is multiplied by the number of interpolated frames plus one."""


class SmallTimed(Timed):
    """The same for the 5B model, which was trained at 24 frames a second."""

    frames_per_second: Annotated[int, Field(ge=4, le=60)] = 24
    """Frames per second of the generated video, before interpolation. Must be between 4 to 60."""
    num_interpolated_frames: Annotated[int, Field(ge=0, le=4)] = 0
    """Number of frames to interpolate between each pair of generated frames, 0 to 4."""


class Pictured(WireInput):
    """A picture to begin with."""

    image_url: Url
    """URL of the input image, or a data URI. If it does not match the aspect ratio, it is resized
    and center cropped."""


def _none_if_empty(url: Any) -> Any:
    # A form sends an empty text for the file that nobody chose.
    return None if isinstance(url, str) and not url.strip() else url


class Ended(WireInput):
    """A picture to end with."""

    end_image_url: Annotated[Url | None, BeforeValidator(_none_if_empty)] = None
    """URL of the image the video ends with, or a data URI."""
