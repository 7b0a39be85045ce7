"""Wire input and seed -> VideoPlan, and a stored video -> output body.

The only file that knows both fal's words and the engine's. Every function is pure.
"""

from __future__ import annotations

from typing import Any

from server.media.sources import Sources
from server.schemas.common import File, VideoFile
from server.schemas.video import TextToVideoInput, TextToVideoTurboInput, VideoOutput
from wan_local.catalog import MODELS
from wan_local.events import Finished
from wan_local.geometry import size_for
from wan_local.plan import (
    EncodingSpec,
    InterpolationSpec,
    LoraRef,
    PromptSpec,
    SafetySpec,
    SamplingSpec,
    VideoPlan,
)

T2V = MODELS["wan2.2-t2v-a14b"]

# The four-step distilled LoRA pair and the settings it was distilled for: Euler, shift 5, no
# guidance (ModelTC/Wan2.2-Lightning and lightx2v/Wan2.2-Distill-Loras). fal's turbo schema has no
# field for any of them, nor for the frame count, which is Wan's own 81 at 16 frames a second.
TURBO_STEPS = 4
TURBO_SHIFT = 5.0
TURBO_LORA = "wan2.2-t2v-a14b-4step"
TURBO_FRAMES = 81
TURBO_FPS = 16


def plan_text_to_video(wire: TextToVideoInput, seed: int, _sources: Sources) -> VideoPlan:
    """Plan a text-to-video request."""
    return VideoPlan(
        model=T2V.id,
        size=size_for(wire.resolution, wire.aspect_ratio),
        num_frames=wire.num_frames,
        fps=wire.frames_per_second,
        prompt=PromptSpec(
            text=wire.prompt, negative=wire.negative_prompt, expand=wire.enable_prompt_expansion
        ),
        sampling=SamplingSpec(
            seed=seed,
            steps=wire.num_inference_steps,
            shift=wire.shift,
            boundary=T2V.boundary,
            guidance_high=wire.guidance_scale,
            guidance_low=wire.guidance_scale_2,
        ),
        encoding=_encoding(wire),
        interpolation=_interpolation(wire),
        safety=_safety(wire),
    )


def plan_text_to_video_turbo(
    wire: TextToVideoTurboInput, seed: int, _sources: Sources
) -> VideoPlan:
    """Plan a text-to-video request of four steps."""
    return VideoPlan(
        model=T2V.id,
        size=size_for(wire.resolution, wire.aspect_ratio),
        num_frames=TURBO_FRAMES,
        fps=TURBO_FPS,
        prompt=PromptSpec(text=wire.prompt, expand=wire.enable_prompt_expansion),
        sampling=SamplingSpec(
            seed=seed,
            steps=TURBO_STEPS,
            shift=TURBO_SHIFT,
            boundary=T2V.boundary,
            guidance_high=1.0,
            guidance_low=1.0,
            solver="euler",
        ),
        encoding=_encoding(wire),
        safety=_safety(wire),
        loras=(LoraRef(name=TURBO_LORA, target="both"),),
    )


def answer_with_video(file: File, finished: Finished) -> dict[str, Any]:
    """Return the output body of a video endpoint."""
    video = VideoFile(
        **file.model_dump(),
        width=finished.size.width,
        height=finished.size.height,
        fps=finished.fps,
        num_frames=finished.num_frames,
        duration=finished.num_frames / finished.fps,
    )
    output = VideoOutput(video=video, prompt=finished.prompt, seed=finished.seed)
    return output.model_dump(mode="json", exclude_none=True)


def _encoding(wire: TextToVideoTurboInput) -> EncodingSpec:
    return EncodingSpec(quality=wire.video_quality, write_mode=wire.video_write_mode)


def _safety(wire: TextToVideoTurboInput) -> SafetySpec:
    return SafetySpec(
        check_input=wire.enable_safety_checker, check_output=wire.enable_output_safety_checker
    )


def _interpolation(wire: TextToVideoInput) -> InterpolationSpec | None:
    if wire.interpolator_model == "none" or wire.num_interpolated_frames == 0:
        return None
    return InterpolationSpec(
        model=wire.interpolator_model,
        frames_between=wire.num_interpolated_frames,
        adjust_fps=wire.adjust_fps_for_interpolation,
    )
