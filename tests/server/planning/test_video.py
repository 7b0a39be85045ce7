"""From fal's words to the engine's, for videos."""

from __future__ import annotations

import pytest

from server.endpoints import ENDPOINTS
from tests.server.planning.inputs import A14B, B5, URL, film, picture, plan
from tests.server.schemas.page import choices
from wan_local.catalog import model_for
from wan_local.errors import InvalidPlan
from wan_local.geometry import Size
from wan_local.plan import (
    EncodingSpec,
    InterpolationSpec,
    LoraRef,
    PromptSpec,
    SafetySpec,
    SamplingSpec,
    StartSpec,
    VideoPlan,
)

VIDEOS = [id for id, row in ENDPOINTS.items() if row.category.endswith("to-video")]
CHOICES = [
    (id, resolution, aspect_ratio)
    for id in VIDEOS
    for resolution in choices(id)["resolution"]
    for aspect_ratio in choices(id)["aspect_ratio"]
]
END = "https://example.org/z"


def test_a_request_with_defaults_is_fals_default_video():
    """81 frames of 720p at 16 fps, 27 steps, as the page says."""
    assert VideoPlan(
        model="wan2.2-t2v-a14b",
        size=Size(1280, 720),
        num_frames=81,
        fps=16,
        prompt=PromptSpec(text="a"),
        sampling=SamplingSpec(
            seed=7, steps=27, shift=5.0, boundary=0.875, guidance_high=3.5, guidance_low=4.0
        ),
        interpolation=InterpolationSpec(model="film", frames_between=1),
    ) == plan(f"{A14B}/text-to-video")


def test_every_field_reaches_the_plan():
    """A field that is read and forgotten is worse than one that is refused."""
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
        reverse=True,
    ) == plan(
        f"{A14B}/text-to-video/lora", seed=1, negative_prompt="b", enable_prompt_expansion=True,
        resolution="480p", aspect_ratio="9:16", num_frames=33, frames_per_second=24,
        num_inference_steps=11, guidance_scale=2, guidance_scale_2=3, shift=4,
        interpolator_model="rife", num_interpolated_frames=3, adjust_fps_for_interpolation=False,
        enable_safety_checker=True, enable_output_safety_checker=False, video_quality="low",
        video_write_mode="small", reverse_video=True,
    )  # fmt: skip


@pytest.mark.parametrize(("endpoint", "resolution", "aspect_ratio"), CHOICES)
def test_no_choice_of_the_page_leads_to_a_refusal(endpoint, resolution, aspect_ratio):
    """A plan that its model cannot carry out is our slip, not the client's."""
    made = plan(endpoint, resolution=resolution, aspect_ratio=aspect_ratio)
    wide = made.size.width - made.size.height

    assert ENDPOINTS[endpoint].model == model_for(made).id
    assert {"1:1": wide == 0, "9:16": wide < 0}.get(aspect_ratio, wide > 0)


@pytest.mark.parametrize("task", ["text-to-video", "image-to-video"])
def test_turbo_takes_four_steps(task):
    """The settings its LoRAs were distilled for, which the schema has no fields for."""
    made = plan(f"{A14B}/{task}/turbo")
    model = ENDPOINTS[f"{A14B}/{task}/turbo"].model
    boundary = 0.875 if task == "text-to-video" else 0.9

    assert made.sampling == SamplingSpec(
        seed=7,
        steps=4,
        shift=5,
        boundary=boundary,
        guidance_high=1,
        guidance_low=1,
        solver="euler",
    )
    assert (LoraRef(name=f"{model}-4step", target="both"),) == made.loras
    assert (81, 16, None) == (made.num_frames, made.fps, made.interpolation)


@pytest.mark.parametrize("endpoint", [f"{A14B}/image-to-video", f"{A14B}/image-to-video/turbo"])
def test_pictures_stand_at_both_ends(endpoint):
    """The first always, the last if it was given."""
    first, last = picture(), film()
    with_both = plan(endpoint, {URL: first, END: last}, end_image_url=END)

    assert (first.file, last.file) == (with_both.first_frame, with_both.last_frame)
    assert plan(endpoint).last_frame is None


@pytest.mark.parametrize(
    ("endpoint", "shape", "size"),
    [
        (f"{A14B}/image-to-video", (1200, 1600), Size(832, 1104)),
        (f"{A14B}/image-to-video/turbo", (1000, 1000), Size(960, 960)),
        (f"{B5}/image-to-video", (1200, 1600), Size(832, 1056)),
        (f"{A14B}/image-to-video", (10_000, 100), Size(1632, 560)),
    ],
)
def test_auto_follows_the_picture(endpoint, shape, size):
    """On the grid of the model, with the resolution's pixels."""
    assert size == plan(endpoint, {URL: picture(*shape)}).size


def test_an_aspect_that_was_given_wins_over_the_picture():
    """Which is cropped to it."""
    sources = {URL: picture(1000, 1000)}

    assert Size(1280, 720) == plan(f"{A14B}/image-to-video", sources, aspect_ratio="16:9").size


@pytest.mark.parametrize(
    ("video", "fields", "frames", "fps"),
    [
        (film(200, 30.0), {}, 81, None),
        (film(40, 30.0), {}, 40, None),
        (film(1, 30.0), {}, 1, None),
        (film(200, 30.0), {"resample_fps": True}, 81, 16.0),
        (film(90, 30.0), {"resample_fps": True}, 48, 16.0),
        (film(24, 12.0), {"resample_fps": True, "frames_per_second": 24}, 48, 24.0),
        (film(200, 30.0), {"num_frames": 17}, 17, None),
    ],
)
def test_a_video_gives_as_many_frames_as_it_has(video, fields, frames, fps):
    """Counted as they are, or as they are after resampling; the log says if they are fewer."""
    made = plan(f"{A14B}/video-to-video", {URL: video}, **fields)

    assert StartSpec(file=video.file, strength=0.9, fps=fps) == made.start
    assert frames == made.num_frames
    assert (frames < fields.get("num_frames", 81)) == bool(made.notes)
    assert made.fps == fields.get("frames_per_second", 16)


def test_a_strength_that_leaves_nothing_to_do_is_refused_with_a_way_out():
    """Zero would give the input back, and cost its encoding."""
    with pytest.raises(InvalidPlan, match="raise the strength or the number of steps"):
        plan(f"{A14B}/video-to-video", strength=0.01)
    with pytest.raises(InvalidPlan, match="strength must be above 0"):
        plan(f"{A14B}/video-to-video", strength=0)


@pytest.mark.parametrize("endpoint", [f"{B5}/text-to-video", f"{B5}/image-to-video"])
def test_the_5b_model_has_one_expert_and_its_own_rate(endpoint):
    """24 frames a second, one guidance, no interpolation unless asked for."""
    made = plan(endpoint)

    assert made.sampling == SamplingSpec(
        seed=7, steps=40, shift=5, boundary=None, guidance_high=3.5, guidance_low=3.5
    )
    assert (81, 24, None) == (made.num_frames, made.fps, made.interpolation)
    assert Size(1280, 704) == made.size
    assert ("image" in endpoint) == (made.first_frame is not None)


def test_distill_runs_the_5b_model_without_guidance_and_says_so():
    """The hosted checkpoint is not public."""
    made = plan(f"{B5}/text-to-video/distill")

    assert ("wan2.2-ti2v-5b", 1, 40) == (
        made.model,
        made.sampling.guidance_high,
        made.sampling.steps,
    )
    assert "no distilled checkpoint of the 5B model is public" in made.notes[0]


def test_fast_wan_takes_three_steps():
    """FastVideo's own settings."""
    made = plan(f"{B5}/text-to-video/fast-wan", resolution="480p")

    assert made.sampling == SamplingSpec(
        seed=7, steps=3, shift=5, boundary=None, guidance_high=1, guidance_low=1, solver="dmd"
    )
    assert ("wan2.2-ti2v-5b-fastwan", Size(832, 480), ()) == (made.model, made.size, made.notes)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"guidance_scale": 5}, "guidance_scale without effect"),
        ({"negative_prompt": "rain"}, "negative_prompt without effect"),
        ({"guidance_scale": 2, "negative_prompt": "a"}, "guidance_scale and negative_prompt"),
    ],
)
def test_fast_wan_says_what_it_does_not_heed(fields, named):
    """Fal's schema has these fields; the model was distilled to run without guidance."""
    made = plan(f"{B5}/text-to-video/fast-wan", **fields)

    assert made.notes[0].startswith(named)
    assert not made.prompt.negative


def test_a_plan_is_a_function_of_input_seed_and_files():
    """It is made twice, once to refuse early and once to run."""
    endpoint = f"{A14B}/image-to-video"

    assert plan(endpoint, seed=3) == plan(endpoint, seed=3)
    assert plan(endpoint, seed=3) != plan(endpoint, seed=4)
    assert plan(endpoint, {URL: picture(9, 16)}) != plan(endpoint, {URL: picture(16, 9)})
