"""What the fields of a video mean; their defaults and ranges are in test_groups.py."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from server.schemas.video import TextToVideoInput, VideoOutput


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
