"""Inputs and outputs of the video endpoints.

Put together from groups of fields; what stands here is what an endpoint has to itself.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from server.schemas.common import (
    AspectRatioEnum,
    Finite,
    Guidance,
    NegativePrompt,
    ResolutionEnum,
    SmallResolutionEnum,
    SourceAspectRatioEnum,
    Url,
    VideoFile,
)
from server.schemas.groups import (
    Avoidance,
    Ended,
    Guided,
    Pictured,
    SmallScheduled,
    SmallTimed,
    Timed,
    TwiceGuided,
    TwoExperts,
    Video,
)
from server.schemas.loras import Adapted


class TextShaped(Video):
    """The shape of a video that is made of words."""

    aspect_ratio: AspectRatioEnum = "16:9"
    """Aspect ratio of the generated video (16:9, 9:16 or 1:1)."""


class SourceShaped(Video):
    """The shape of a video that is made out of a picture or another video."""

    aspect_ratio: SourceAspectRatioEnum = "auto"
    """Aspect ratio of the generated video. If `auto`, it is that of the input, up to 3:1."""


class TextToVideoTurboInput(TextShaped, TwoExperts):
    """Body of `fal-ai/wan/v2.2-a14b/text-to-video/turbo`."""


class TextToVideoInput(TextShaped, Timed, TwiceGuided):
    """Body of `fal-ai/wan/v2.2-a14b/text-to-video`."""


class TextToVideoLoraInput(Adapted, TextToVideoInput):
    """Body of `fal-ai/wan/v2.2-a14b/text-to-video/lora`."""


class ImageToVideoTurboInput(Ended, Pictured, SourceShaped, TwoExperts):
    """Body of `fal-ai/wan/v2.2-a14b/image-to-video/turbo`."""


class ImageToVideoLoraInput(Adapted, Ended, Pictured, SourceShaped, Timed, TwiceGuided):
    """Body of `fal-ai/wan/v2.2-a14b/image-to-video/lora`; `end_image_url` came to it later."""


class ImageToVideoInput(Ended, Pictured, SourceShaped, Timed, TwiceGuided):
    """Body of `fal-ai/wan/v2.2-a14b/image-to-video`."""

    guidance_scale_2: Guidance = 3.5
    """Classifier-free guidance scale of the second (low noise) stage."""


class VideoToVideoInput(SourceShaped, Timed, TwiceGuided):
    """Body of `fal-ai/wan/v2.2-a14b/video-to-video`."""

    video_url: Url
    """URL of the input video, or a data URI. If it has fewer frames than `num_frames`, as many are
    generated as it has."""
    strength: Annotated[Finite, Field(ge=0, le=1)] = 0.9
    """Strength of the transformation: 1.0 follows the prompt alone, lower values keep more of the
    input video."""
    resample_fps: bool = False
    """If true, the input video is resampled to `frames_per_second`, and keeps its speed. If false,
    its frames are taken one by one and shown at that rate."""


class SmallFastTextToVideoInput(TextShaped, SmallTimed, Guided, Avoidance):
    """Body of `fal-ai/wan/v2.2-5b/text-to-video/fast-wan`."""

    resolution: ResolutionEnum = "720p"
    """Resolution of the generated video (480p, 580p, or 720p)."""
    guidance_scale: Guidance = 3.5
    """Accepted for the sake of callers: the three steps of this model were distilled to need no
    guidance, and take none."""
    negative_prompt: NegativePrompt = ""
    """Accepted for the sake of callers: without guidance nothing is avoided."""


class SmallTextToVideoInput(TextShaped, SmallTimed, SmallScheduled, Guided, Avoidance):
    """Body of `fal-ai/wan/v2.2-5b/text-to-video`."""

    resolution: SmallResolutionEnum = "720p"
    """Resolution of the generated video (580p or 720p)."""


class SmallDistilledTextToVideoInput(TextShaped, SmallTimed, SmallScheduled, Guided):
    """Body of `fal-ai/wan/v2.2-5b/text-to-video/distill`."""

    resolution: SmallResolutionEnum = "720p"
    """Resolution of the generated video (580p or 720p)."""
    guidance_scale: Guidance = 1.0
    """Classifier-free guidance scale; 1 is without guidance."""


class SmallImageToVideoInput(Pictured, SourceShaped, SmallTimed, SmallScheduled, Guided, Avoidance):
    """Body of `fal-ai/wan/v2.2-5b/image-to-video`."""

    resolution: SmallResolutionEnum = "720p"
    """Resolution of the generated video (580p or 720p)."""


class VideoOutput(BaseModel):
    """What every video endpoint answers with."""

    video: VideoFile
    """The generated video file."""
    prompt: str = ""
    """The text prompt used for video generation."""
    seed: int
    """The seed used for generation."""
