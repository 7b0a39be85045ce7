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
from server.planning import answer_with_video, plan_text_to_video, plan_text_to_video_turbo
from server.schemas.common import File
from server.schemas.video import TextToVideoInput, TextToVideoTurboInput, VideoOutput
from wan_local.events import Finished
from wan_local.plan import VideoPlan


def no_needs(_wire: Any) -> tuple[Need, ...]:
    """Return what an endpoint needs that is given words alone: nothing."""
    return ()


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
    needs: Callable[[Any], tuple[Need, ...]] = no_needs
    """Input -> the files that have to be here before its plan can be made."""


ENDPOINTS = {
    endpoint.id: endpoint
    for endpoint in [
        Endpoint(
            "fal-ai/wan/v2.2-a14b/text-to-video",
            "Wan 2.2 A14B: text to video",
            TextToVideoInput,
            VideoOutput,
            plan_text_to_video,
            answer_with_video,
            "wan2.2-t2v-a14b",
        ),
        Endpoint(
            "fal-ai/wan/v2.2-a14b/text-to-video/turbo",
            "Wan 2.2 A14B: text to video in four steps",
            TextToVideoTurboInput,
            VideoOutput,
            plan_text_to_video_turbo,
            answer_with_video,
            "wan2.2-t2v-a14b",
        ),
    ]
}


def find_endpoint(id: str) -> Endpoint | None:
    """Return the row of endpoint *id*, in any case of letters, or None if there is none."""
    # Clients in the wild spell one id `v2.2-a14B`: ids are compared without regard to case.
    return ENDPOINTS.get(id.lower())
