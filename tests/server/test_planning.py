"""Wire input to plan: each field lands where it belongs."""

from __future__ import annotations

import pytest

from server.planning import (
    answer_with_video,
    plan_text_to_video,
    plan_text_to_video_turbo,
)
from server.schemas.common import File
from server.schemas.video import TextToVideoInput, TextToVideoTurboInput
from wan_local.events import Finished
from wan_local.geometry import Size
from wan_local.plan import (
    EncodingSpec,
    InterpolationSpec,
    LoraRef,
    PromptSpec,
    SafetySpec,
    SamplingSpec,
    VideoPlan,
)


def test_a_plain_prompt():
    """Fal's defaults, word for word."""
    assert VideoPlan(
        model="wan2.2-t2v-a14b",
        size=Size(1280, 720),
        num_frames=81,
        fps=16,
        prompt=PromptSpec(text="a cat"),
        sampling=SamplingSpec(
            seed=7, steps=27, shift=5, boundary=0.875, guidance_high=3.5, guidance_low=4
        ),
        encoding=EncodingSpec(quality="high", write_mode="balanced"),
        interpolation=InterpolationSpec(model="film", frames_between=1, adjust_fps=True),
    ) == plan_text_to_video(TextToVideoInput(prompt="a cat"), 7, {})


def test_every_field_has_its_place():
    """Two numbers of one type are easily swapped: each has a value of its own here."""
    wire = TextToVideoInput(
        prompt="a", negative_prompt="b", num_frames=33, frames_per_second=24, resolution="480p",
        aspect_ratio="9:16", num_inference_steps=11, guidance_scale=2, guidance_scale_2=3, shift=4,
        enable_prompt_expansion=True, enable_safety_checker=True, interpolator_model="rife",
        num_interpolated_frames=3, adjust_fps_for_interpolation=False, video_quality="low",
        video_write_mode="small",
    )  # fmt: skip

    assert VideoPlan(
        model="wan2.2-t2v-a14b",
        size=Size(480, 832),
        num_frames=33,
        fps=24,
        prompt=PromptSpec(text="a", negative="b", expand=True),
        sampling=SamplingSpec(
            seed=1, steps=11, shift=4, boundary=0.875, guidance_high=2, guidance_low=3
        ),
        encoding=EncodingSpec(quality="low", write_mode="small"),
        interpolation=InterpolationSpec(model="rife", frames_between=3, adjust_fps=False),
        safety=SafetySpec(check_input=True, check_output=False),
    ) == plan_text_to_video(wire, 1, {})


def test_the_output_check_is_its_own():
    """Two switches with nearly one name."""
    wire = TextToVideoInput(prompt="a", enable_output_safety_checker=True)

    assert (
        SafetySpec(check_input=False, check_output=True) == plan_text_to_video(wire, 1, {}).safety
    )


@pytest.mark.parametrize("fields", [{"interpolator_model": "none"}, {"num_interpolated_frames": 0}])
def test_two_ways_to_want_no_interpolation(fields):
    """`none`, or no frames between."""
    assert plan_text_to_video(TextToVideoInput(prompt="a", **fields), 1, {}).interpolation is None


def test_turbo_takes_four_steps():
    """The settings its LoRA was distilled for, which the schema has no fields for."""
    plan = plan_text_to_video_turbo(TextToVideoTurboInput(prompt="a"), 7, {})

    assert (
        SamplingSpec(
            seed=7,
            steps=4,
            shift=5,
            boundary=0.875,
            guidance_high=1,
            guidance_low=1,
            solver="euler",
        )
        == plan.sampling
    )
    assert (LoraRef(name="wan2.2-t2v-a14b-4step", target="both"),) == plan.loras
    assert (81, 16, None) == (plan.num_frames, plan.fps, plan.interpolation)


@pytest.mark.parametrize("resolution", ["480p", "580p", "720p"])
@pytest.mark.parametrize("aspect_ratio", ["16:9", "9:16", "1:1"])
def test_every_size_can_be_planned(resolution, aspect_ratio):
    """No choice of the schema leads to a plan that is refused."""
    wire = TextToVideoTurboInput(prompt="a", resolution=resolution, aspect_ratio=aspect_ratio)
    plan = plan_text_to_video_turbo(wire, 1, {})

    assert (aspect_ratio == "1:1") == (plan.size.width == plan.size.height)
    assert (aspect_ratio == "9:16") == (plan.size.width < plan.size.height)


def test_a_plan_is_a_function_of_input_and_seed():
    """It is made twice, once to refuse early and once to run."""
    wire = TextToVideoInput(prompt="a")

    assert plan_text_to_video(wire, 3, {}) == plan_text_to_video(wire, 3, {})
    assert plan_text_to_video(wire, 3, {}) != plan_text_to_video(wire, 4, {})


def test_the_answer_is_what_was_made():
    """The prompt and seed that were used, and no empty fields."""
    finished = Finished(
        path="/x", size=Size(16, 16), num_frames=5, fps=16.0, seed=7, prompt="a red cat"
    )
    video = File(url="/cdn/files/t/a.mp4", content_type="video/mp4")

    assert {
        "video": {
            "url": "/cdn/files/t/a.mp4",
            "content_type": "video/mp4",
            "width": 16,
            "height": 16,
            "fps": 16.0,
            "num_frames": 5,
            "duration": 0.3125,
        },
        "prompt": "a red cat",
        "seed": 7,
    } == answer_with_video(video, finished)
