"""Sizes of images, and what image endpoints answer."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from server.schemas.image import (
    ImageToImageInput,
    ImageToImageOutput,
    SmallTextToImageInput,
    TextToImageOutput,
)

PRESETS = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}


def size_of(image_size):
    size = SmallTextToImageInput.model_validate(
        {"prompt": "a", "image_size": image_size}
    ).image_size
    return size.width, size.height


@pytest.mark.parametrize(("name", "size"), PRESETS.items(), ids=PRESETS)
def test_a_preset_is_a_size(name, size):
    """As in fal's own toolkit."""
    assert size == size_of(name)


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({"width": 1280, "height": 720}, (1280, 720)),
        ({"width": "640"}, (640, 512)),
        ({}, (512, 512)),
        ({"width": None, "height": 1}, (512, 1)),
        ({"width": 4096, "height": 4096, "unit": "px"}, (4096, 4096)),
        ({"width": 14142, "height": 16}, (14142, 16)),
        (None, (1024, 1024)),
    ],
)
def test_an_object_is_a_size(given, size):
    """Each side has a default of its own; rounding is the planner's."""
    assert size == size_of(given)


@pytest.mark.parametrize(
    ("given", "loc", "said"),
    [
        ("hd", ("image_size",), "'square_hd'"),
        ("", ("image_size",), "'square_hd'"),
        (5, ("image_size",), "dictionary"),
        ([1280, 720], ("image_size",), "dictionary"),
        ({"width": 0}, ("image_size", "width"), "greater than 0"),
        ({"height": 14143}, ("image_size", "height"), "14142"),
        ({"height": 7.5}, ("image_size", "height"), "integer"),
        ({"width": 5000, "height": 4000}, ("image_size",), "5000×4000 has 20000000"),
    ],
)
def test_what_is_no_size_is_pointed_at_once(given, loc, said):
    """A union of names and objects would complain twice, at places that are not in the body."""
    with pytest.raises(ValidationError) as caught:
        size_of(given)
    [error] = caught.value.errors()

    assert loc == error["loc"]
    assert said in error["msg"]


def test_an_image_made_of_another_has_no_size_of_its_own():
    """It follows the aspect ratio."""
    wire = ImageToImageInput.model_validate({"prompt": "a", "image_url": "b", "image_size": None})

    assert wire.image_size is None


def test_the_outputs_have_fals_fields():
    """Text-to-image does not repeat the prompt, image-to-image does."""
    body = {"image": {"url": "u", "width": 16, "height": 16}, "seed": 7}

    assert body == TextToImageOutput.model_validate(body).model_dump(exclude_none=True)
    assert body | {"prompt": ""} == ImageToImageOutput.model_validate(body).model_dump(
        exclude_none=True
    )
    for output in (TextToImageOutput, ImageToImageOutput):
        with pytest.raises(ValidationError, match="image"):
            output.model_validate({"seed": 7})
