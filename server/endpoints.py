"""Every endpoint this service answers, as one table.

To add an endpoint: write its input schema, its planner, and a row here. The routes, the OpenAPI
documents, the dispatcher, the CLI and the contract tests all read this table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from server.media.sources import Need, Sources
from server.planning.answers import (
    answer_with_changed_image,
    answer_with_image,
    answer_with_video,
)
from server.planning.image import (
    plan_image_to_image,
    plan_small_text_to_image,
    plan_text_to_image,
    plan_text_to_image_lora,
)
from server.planning.needs import needs
from server.planning.parts import FAST, I2V, SMALL, T2V
from server.planning.video import (
    plan_image_to_video,
    plan_image_to_video_turbo,
    plan_small_distilled,
    plan_small_fast,
    plan_small_image_to_video,
    plan_small_text_to_video,
    plan_text_to_video,
    plan_text_to_video_turbo,
    plan_video_to_video,
)
from server.schemas.common import File
from server.schemas.image import (
    ImageToImageInput,
    ImageToImageOutput,
    SmallTextToImageInput,
    TextToImageInput,
    TextToImageLoraInput,
    TextToImageOutput,
)
from server.schemas.video import (
    ImageToVideoInput,
    ImageToVideoLoraInput,
    ImageToVideoTurboInput,
    SmallDistilledTextToVideoInput,
    SmallFastTextToVideoInput,
    SmallImageToVideoInput,
    SmallTextToVideoInput,
    TextToVideoInput,
    TextToVideoLoraInput,
    TextToVideoTurboInput,
    VideoOutput,
    VideoToVideoInput,
)
from wan_local.events import Finished
from wan_local.plan import VideoPlan

A14B = "fal-ai/wan/v2.2-a14b"
B5 = "fal-ai/wan/v2.2-5b"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row: what comes in, the plan made of it, and what goes out."""

    id: str
    title: str
    input: type[BaseModel]
    output: type[BaseModel]
    plan: Callable[[Any, int, Sources], VideoPlan]
    """Input, seed, and the files that the input needs -> the plan."""
    answer: Callable[[File, Finished], dict[str, Any]]
    model: str
    """The model its plans run on, so that a slot that holds it can be preferred."""
    needs: Callable[[Any], tuple[Need, ...]] = needs
    """Input -> the files that have to be here before its plan can be made."""

    @property
    def category(self) -> str:
        """What it makes of what, in fal's words: `text-to-video`."""
        return self.id.split("/")[3]


ENDPOINTS = {
    endpoint.id: endpoint
    for endpoint in [
        Endpoint(
            f"{A14B}/text-to-video",
            "Wan 2.2 A14B: text to video",
            TextToVideoInput,
            VideoOutput,
            plan_text_to_video,
            answer_with_video,
            T2V.id,
        ),
        Endpoint(
            f"{A14B}/text-to-video/turbo",
            "Wan 2.2 A14B: text to video in four steps",
            TextToVideoTurboInput,
            VideoOutput,
            plan_text_to_video_turbo,
            answer_with_video,
            T2V.id,
        ),
        Endpoint(
            f"{A14B}/text-to-video/lora",
            "Wan 2.2 A14B: text to video with LoRAs",
            TextToVideoLoraInput,
            VideoOutput,
            plan_text_to_video,
            answer_with_video,
            T2V.id,
        ),
        Endpoint(
            f"{A14B}/image-to-video",
            "Wan 2.2 A14B: image to video",
            ImageToVideoInput,
            VideoOutput,
            plan_image_to_video,
            answer_with_video,
            I2V.id,
        ),
        Endpoint(
            f"{A14B}/image-to-video/turbo",
            "Wan 2.2 A14B: image to video in four steps",
            ImageToVideoTurboInput,
            VideoOutput,
            plan_image_to_video_turbo,
            answer_with_video,
            I2V.id,
        ),
        Endpoint(
            f"{A14B}/image-to-video/lora",
            "Wan 2.2 A14B: image to video with LoRAs",
            ImageToVideoLoraInput,
            VideoOutput,
            plan_image_to_video,
            answer_with_video,
            I2V.id,
        ),
        Endpoint(
            f"{A14B}/video-to-video",
            "Wan 2.2 A14B: video to video",
            VideoToVideoInput,
            VideoOutput,
            plan_video_to_video,
            answer_with_video,
            T2V.id,
        ),
        Endpoint(
            f"{A14B}/text-to-image",
            "Wan 2.2 A14B: text to image",
            TextToImageInput,
            TextToImageOutput,
            plan_text_to_image,
            answer_with_image,
            T2V.id,
        ),
        Endpoint(
            f"{A14B}/text-to-image/lora",
            "Wan 2.2 A14B: text to image with LoRAs",
            TextToImageLoraInput,
            TextToImageOutput,
            plan_text_to_image_lora,
            answer_with_image,
            T2V.id,
        ),
        Endpoint(
            f"{A14B}/image-to-image",
            "Wan 2.2 A14B: image to image",
            ImageToImageInput,
            ImageToImageOutput,
            plan_image_to_image,
            answer_with_changed_image,
            T2V.id,
        ),
        Endpoint(
            f"{B5}/text-to-video",
            "Wan 2.2 5B: text to video",
            SmallTextToVideoInput,
            VideoOutput,
            plan_small_text_to_video,
            answer_with_video,
            SMALL.id,
        ),
        Endpoint(
            f"{B5}/text-to-video/distill",
            "Wan 2.2 5B: text to video without guidance",
            SmallDistilledTextToVideoInput,
            VideoOutput,
            plan_small_distilled,
            answer_with_video,
            SMALL.id,
        ),
        Endpoint(
            f"{B5}/text-to-video/fast-wan",
            "Wan 2.2 5B: text to video in three steps",
            SmallFastTextToVideoInput,
            VideoOutput,
            plan_small_fast,
            answer_with_video,
            FAST.id,
        ),
        Endpoint(
            f"{B5}/image-to-video",
            "Wan 2.2 5B: image to video",
            SmallImageToVideoInput,
            VideoOutput,
            plan_small_image_to_video,
            answer_with_video,
            SMALL.id,
        ),
        Endpoint(
            f"{B5}/text-to-image",
            "Wan 2.2 5B: text to image",
            SmallTextToImageInput,
            TextToImageOutput,
            plan_small_text_to_image,
            answer_with_image,
            SMALL.id,
        ),
    ]
}


def find_endpoint(id: str) -> Endpoint | None:
    """Return the row of endpoint *id*, in any case of letters, or None if there is none."""
    # Clients in the wild spell one id `v2.2-a14B`: ids are compared without regard to case.
    return ENDPOINTS.get(id.lower())
