"""What the plans of several endpoints have in common, a part at a time."""

from __future__ import annotations

from server.schemas.groups import Avoidance, Generation, Timed, TwiceGuided, Video
from wan_local.catalog import MODELS, ModelSpec
from wan_local.plan import (
    EncodingSpec,
    InterpolationSpec,
    PromptSpec,
    SafetySpec,
    SamplingSpec,
)

T2V = MODELS["wan2.2-t2v-a14b"]
I2V = MODELS["wan2.2-i2v-a14b"]
SMALL = MODELS["wan2.2-ti2v-5b"]
FAST = MODELS["wan2.2-ti2v-5b-fastwan"]

# What the distilled models were trained for; fal's schemas have no fields for it. Four steps of
# Euler (ModelTC/Wan2.2-Lightning, lightx2v/Wan2.2-Distill-Loras), and three of DMD (FastVideo's
# FastWan2_2_TI2V_5B_Config), both at shift 5 and without guidance.
TURBO_STEPS = 4
FAST_STEPS = 3
DISTILLED_SHIFT = 5.0


def prompt_spec(wire: Generation) -> PromptSpec:
    """Return what to show and what to avoid."""
    negative = wire.negative_prompt if isinstance(wire, Avoidance) else ""
    return PromptSpec(text=wire.prompt, negative=negative, expand=wire.enable_prompt_expansion)


def safety_spec(wire: Generation) -> SafetySpec:
    """Return what is to be looked at."""
    return SafetySpec(
        check_input=wire.enable_safety_checker, check_output=wire.enable_output_safety_checker
    )


def encoding_spec(wire: Video) -> EncodingSpec:
    """Return how the video is to be written."""
    return EncodingSpec(quality=wire.video_quality, write_mode=wire.video_write_mode)


def interpolation_spec(wire: Timed) -> InterpolationSpec | None:
    """Return which frames come between, or None: there are two ways to want none."""
    if wire.interpolator_model == "none" or wire.num_interpolated_frames == 0:
        return None
    return InterpolationSpec(
        model=wire.interpolator_model,
        frames_between=wire.num_interpolated_frames,
        adjust_fps=wire.adjust_fps_for_interpolation,
    )


def two_experts(model: ModelSpec, wire: TwiceGuided, seed: int) -> SamplingSpec:
    """Return how an A14B model samples."""
    return SamplingSpec(
        seed=seed,
        steps=wire.num_inference_steps,
        shift=wire.shift,
        boundary=model.boundary,
        guidance_high=wire.guidance_scale,
        guidance_low=wire.guidance_scale_2,
    )


def one_expert(seed: int, *, steps: int, shift: float, guidance: float) -> SamplingSpec:
    """Return how the 5B model samples."""
    return SamplingSpec(
        seed=seed,
        steps=steps,
        shift=shift,
        boundary=None,
        guidance_high=guidance,
        guidance_low=guidance,
    )


def turbo(model: ModelSpec, seed: int) -> SamplingSpec:
    """Return how an A14B model samples under its distilled pair of LoRAs."""
    return SamplingSpec(
        seed=seed,
        steps=TURBO_STEPS,
        shift=DISTILLED_SHIFT,
        boundary=model.boundary,
        guidance_high=1.0,
        guidance_low=1.0,
        solver="euler",
    )


def three_steps(seed: int) -> SamplingSpec:
    """Return how the 5B model of three steps samples."""
    return SamplingSpec(
        seed=seed,
        steps=FAST_STEPS,
        shift=DISTILLED_SHIFT,
        boundary=None,
        guidance_high=1.0,
        guidance_low=1.0,
        solver="dmd",
    )
