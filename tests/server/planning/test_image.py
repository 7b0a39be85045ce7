"""From fal's words to the engine's, for pictures."""

from __future__ import annotations

import pytest

from server.endpoints import ENDPOINTS
from tests.server.planning.inputs import A14B, B5, URL, picture, plan
from wan_local.catalog import model_for
from wan_local.geometry import Size
from wan_local.plan import PictureSpec, PromptSpec, SamplingSpec, StartSpec, VideoPlan

IMAGES = [id for id, row in ENDPOINTS.items() if row.category.endswith("to-image")]


def test_a_picture_is_a_plan_of_one_frame():
    """With the defaults of the page: 1024×1024, 27 steps at shift 2."""
    assert VideoPlan(
        model="wan2.2-t2v-a14b",
        size=Size(1024, 1024),
        num_frames=1,
        fps=16,
        prompt=PromptSpec(text="a", negative="b"),
        sampling=SamplingSpec(
            seed=7, steps=27, shift=2.0, boundary=0.875, guidance_high=3.5, guidance_low=4.0
        ),
        picture=PictureSpec(format="jpeg"),
    ) == plan(f"{A14B}/text-to-image", negative_prompt="b")


def test_the_5b_model_makes_pictures_too():
    """One expert, 40 steps."""
    made = plan(f"{B5}/text-to-image", image_format="png")

    assert made.sampling == SamplingSpec(
        seed=7, steps=40, shift=2, boundary=None, guidance_high=3.5, guidance_low=3.5
    )
    assert ("wan2.2-ti2v-5b", ".png") == (made.model, made.file_ending)


@pytest.mark.parametrize("endpoint", IMAGES)
@pytest.mark.parametrize(
    "image_size",
    ["square", "portrait_4_3", "landscape_16_9", {"width": 1, "height": 14142}, {"width": 1000}],
)
def test_no_size_of_the_page_leads_to_a_refusal(endpoint, image_size):
    """Rounding is ours to do."""
    assert ENDPOINTS[endpoint].model == model_for(plan(endpoint, image_size=image_size)).id


@pytest.mark.parametrize(
    ("endpoint", "asked", "size"),
    [
        (f"{A14B}/text-to-image", {"width": 1000, "height": 1080}, Size(1008, 1088)),
        (f"{B5}/text-to-image", {"width": 1000, "height": 1080}, Size(992, 1088)),
        (f"{B5}/text-to-image", {"width": 1280, "height": 720}, Size(1280, 736)),
    ],
)
def test_sides_are_rounded_to_the_models_grid_and_the_log_says_so(endpoint, asked, size):
    """The answer has the size that was made."""
    made = plan(endpoint, image_size=asked)

    assert size == made.size
    assert f"is made as {size}" in made.notes[0]


@pytest.mark.parametrize("endpoint", [f"{A14B}/text-to-image/lora", f"{A14B}/image-to-image"])
def test_the_format_is_the_files(endpoint):
    """JPEG unless PNG is asked for; nothing is said in the log about a usual request."""
    assert (".jpg", ()) == (plan(endpoint).file_ending, plan(endpoint).notes)
    assert ".png" == plan(endpoint, image_format="png").file_ending


def test_reversing_a_picture_changes_nothing():
    """Fal's schema has the field all the same."""
    endpoint = f"{A14B}/text-to-image/lora"

    assert plan(endpoint) == plan(endpoint, reverse_video=True)


def test_a_picture_is_made_of_another():
    """With half of the schedule, by default."""
    made = plan(f"{A14B}/image-to-image")

    assert StartSpec(file=picture().file, strength=0.5) == made.start
    assert 13 == made.steps_run


@pytest.mark.parametrize(
    ("shape", "fields", "size"),
    [
        ((4000, 3000), {}, Size(1184, 880)),
        ((100, 100), {}, Size(1024, 1024)),
        ((3000, 4000), {"aspect_ratio": "16:9"}, Size(1360, 768)),
        ((3000, 4000), {"aspect_ratio": "9:16"}, Size(768, 1360)),
        ((3000, 4000), {"aspect_ratio": "1:1"}, Size(1024, 1024)),
        ((3000, 4000), {"image_size": "landscape_4_3"}, Size(1024, 768)),
        ((3000, 4000), {"image_size": "square", "aspect_ratio": "9:16"}, Size(512, 512)),
    ],
)
def test_its_shape_is_the_inputs_unless_another_is_given(shape, fields, size):
    """A size says more than an aspect, and an aspect more than nothing."""
    assert size == plan(f"{A14B}/image-to-image", {URL: picture(*shape)}, **fields).size
