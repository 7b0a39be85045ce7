"""Every field, default and range of fal's text-to-video schemas."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from server.schemas.video import TextToVideoInput, TextToVideoTurboInput, VideoOutput

# As fal's API page prints them; `enable_*` are printed without a default there and are false.
TURBO = {
    "seed": None,
    "resolution": "720p",
    "aspect_ratio": "16:9",
    "enable_safety_checker": False,
    "enable_output_safety_checker": False,
    "enable_prompt_expansion": False,
    "acceleration": "regular",
    "video_quality": "high",
    "video_write_mode": "balanced",
}
FULL = TURBO | {
    "negative_prompt": "",
    "num_frames": 81,
    "frames_per_second": 16,
    "num_inference_steps": 27,
    "guidance_scale": 3.5,
    "guidance_scale_2": 4.0,
    "shift": 5.0,
    "interpolator_model": "film",
    "num_interpolated_frames": 1,
    "adjust_fps_for_interpolation": True,
}
SCHEMAS = [(TextToVideoInput, FULL), (TextToVideoTurboInput, TURBO)]
RANGES = {
    "num_frames": (17, 161),
    "frames_per_second": (4, 60),
    "num_inference_steps": (2, 40),
    "guidance_scale": (1, 10),
    "guidance_scale_2": (1, 10),
    "shift": (1, 10),
    "num_interpolated_frames": (0, 4),
    "seed": (0, 2**63 - 1),
}
CHOICES = {
    "resolution": ["480p", "580p", "720p"],
    "aspect_ratio": ["16:9", "9:16", "1:1"],
    "acceleration": ["none", "regular"],
    "video_quality": ["low", "medium", "high", "maximum"],
    "video_write_mode": ["fast", "balanced", "small"],
    "interpolator_model": ["none", "film", "rife"],
}


@pytest.mark.parametrize(("schema", "defaults"), SCHEMAS)
def test_a_prompt_alone_gets_fals_defaults(schema, defaults):
    """The same call must mean the same video here and there."""
    assert {"prompt": "a", **defaults} == schema(prompt="a").model_dump()


@pytest.mark.parametrize(("schema", "defaults"), SCHEMAS)
def test_null_is_the_default(schema, defaults):
    """JavaScript sends null where Python leaves a field out."""
    nulls = dict.fromkeys(defaults)

    assert schema(prompt="a") == schema.model_validate({"prompt": "a", **nulls})


@pytest.mark.parametrize(("schema", "defaults"), SCHEMAS)
def test_unknown_fields_are_ignored(schema, defaults):
    """Litellm and AI SDK add their own: duration, end_user_id, sync_mode."""
    more = {"prompt": "a", "duration": "5s", "sync_mode": True, "loras": [{}]}

    assert schema(prompt="a") == schema.model_validate(more)


@pytest.mark.parametrize(("schema", "defaults"), SCHEMAS)
@pytest.mark.parametrize("body", [{}, {"prompt": None}, {"prompt": 7}, {"prompt": ["a"]}])
def test_a_prompt_is_required(schema, defaults, body):
    """It is the only field that is."""
    with pytest.raises(ValidationError, match="prompt"):
        schema.model_validate(body)


@pytest.mark.parametrize(("field", "bounds"), RANGES.items(), ids=RANGES)
def test_both_ends_of_a_range_are_in_and_their_neighbours_out(field, bounds):
    """Ranges are inclusive, as the page says."""
    low, high = bounds
    for value in bounds:
        assert value == getattr(
            TextToVideoInput.model_validate({"prompt": "a", field: value}), field
        )
    for value in (low - 1, high + 1):
        with pytest.raises(ValidationError, match=field):
            TextToVideoInput.model_validate({"prompt": "a", field: value})


@pytest.mark.parametrize(("field", "choices"), CHOICES.items(), ids=CHOICES)
def test_choices_are_exactly_those_of_the_page(field, choices):
    """An unknown one is refused rather than replaced."""
    for value in choices:
        assert value == getattr(
            TextToVideoInput.model_validate({"prompt": "a", field: value}), field
        )
    for value in ("", choices[0].upper() + "x", 1, True):
        with pytest.raises(ValidationError, match=field):
            TextToVideoInput.model_validate({"prompt": "a", field: value})


@pytest.mark.parametrize("field", ["guidance_scale", "guidance_scale_2", "shift"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_are_finite(field, value):
    """NaN passes every comparison by failing it, and turns the whole video black."""
    with pytest.raises(ValidationError, match=field):
        TextToVideoInput.model_validate({"prompt": "a", field: value})


def test_numbers_in_words_are_understood():
    """Litellm sends strings."""
    wire = TextToVideoInput.model_validate({"prompt": "a", "num_frames": "33", "shift": "2.5"})

    assert (33, 2.5) == (wire.num_frames, wire.shift)


@pytest.mark.parametrize("value", [81.5, "81.5", [81], {}])
def test_half_a_frame_is_refused(value):
    """Rounding would be a guess."""
    with pytest.raises(ValidationError, match="num_frames"):
        TextToVideoInput.model_validate({"prompt": "a", "num_frames": value})


@pytest.mark.parametrize(
    ("value", "text"),
    [("bad, ugly", "bad, ugly"), (["bad", "ugly"], "bad, ugly"), ([], ""), ("", ""), (None, "")],
)
def test_a_negative_prompt_may_be_a_list(value, text):
    """huggingface_hub sends one."""
    wire = TextToVideoInput.model_validate({"prompt": "a", "negative_prompt": value})

    assert text == wire.negative_prompt


@pytest.mark.parametrize("value", [["bad", 7], {"bad": 1}, 7, "a\0b", ["a\0b"], "a" * 10_001])
def test_a_negative_prompt_is_text(value):
    """Anything else is a mistake to tell about."""
    with pytest.raises(ValidationError, match="negative_prompt"):
        TextToVideoInput.model_validate({"prompt": "a", "negative_prompt": value})


def test_the_output_has_fals_fields():
    """`video` and `seed` are required there, `prompt` may be empty."""
    output = VideoOutput.model_validate({"video": {"url": "u"}, "seed": 7})

    assert {"video": {"url": "u"}, "prompt": "", "seed": 7} == output.model_dump(exclude_none=True)
    with pytest.raises(ValidationError, match="seed"):
        VideoOutput.model_validate({"video": {"url": "u"}})
