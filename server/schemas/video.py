"""Inputs and outputs of the video endpoints.

Names, defaults and ranges are those of the hosted API page; docstrings become its field texts.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from server.schemas.common import (
    AccelerationEnum,
    AspectRatioEnum,
    Finite,
    Guidance,
    InterpolatorModelEnum,
    NegativePrompt,
    Prompt,
    ResolutionEnum,
    Seed,
    VideoFile,
    VideoQualityEnum,
    VideoWriteModeEnum,
    WireInput,
)


class TextToVideoTurboInput(WireInput):
    """Body of `fal-ai/wan/v2.2-a14b/text-to-video/turbo`."""

    prompt: Prompt
    """The text prompt to guide video generation."""
    seed: Seed | None = None
    """Random seed for reproducibility. If None, a random seed is chosen."""
    resolution: ResolutionEnum = "720p"
    """Resolution of the generated video (480p, 580p, or 720p)."""
    aspect_ratio: AspectRatioEnum = "16:9"
    """Aspect ratio of the generated video (16:9, 9:16 or 1:1)."""
    enable_safety_checker: bool = False
    """If set to true, input data will be checked for safety before processing."""
    enable_output_safety_checker: bool = False
    """If set to true, output video will be checked for safety after generation."""
    enable_prompt_expansion: bool = False
    """Whether to let a language model add detail to the prompt while keeping its meaning."""
    acceleration: AccelerationEnum = "regular"
    """Acceleration level: the more acceleration, the faster, at lower quality."""
    video_quality: VideoQualityEnum = "high"
    """Quality of the output video; higher means a larger file."""
    video_write_mode: VideoWriteModeEnum = "balanced"
    """Fast writes the largest file soonest, small the smallest file latest."""


class TextToVideoInput(TextToVideoTurboInput):
    """Body of `fal-ai/wan/v2.2-a14b/text-to-video`."""

    negative_prompt: NegativePrompt = ""
    """Negative prompt for video generation."""
    num_frames: Annotated[int, Field(ge=17, le=161)] = 81
    """Number of frames to generate. Must be between 17 to 161 (inclusive)."""
    frames_per_second: Annotated[int, Field(ge=4, le=60)] = 16
    """Frames per second of the generated video, before interpolation. Must be between 4 to 60."""
    num_inference_steps: Annotated[int, Field(ge=2, le=40)] = 27
    """Number of denoising steps. More steps give better quality and take longer."""
    guidance_scale: Guidance = 3.5
    """Classifier-free guidance scale of the first (high noise) stage."""
    guidance_scale_2: Guidance = 4.0
    """Classifier-free guidance scale of the second (low noise) stage."""
    shift: Annotated[Finite, Field(ge=1, le=10)] = 5.0
    """Shift value for the video. Must be between 1.0 and 10.0."""
    interpolator_model: InterpolatorModelEnum = "film"
    """The model to use for frame interpolation; `none` interpolates nothing."""
    num_interpolated_frames: Annotated[int, Field(ge=0, le=4)] = 1
    """Number of frames to interpolate between each pair of generated frames, 0 to 4."""
    adjust_fps_for_interpolation: bool = True
    """If true, the frame rate is multiplied by the number of interpolated frames plus one."""


class VideoOutput(BaseModel):
    """What every video endpoint answers with."""

    video: VideoFile
    """The generated video file."""
    prompt: str = ""
    """The text prompt used for video generation."""
    seed: int
    """The seed used for generation."""
