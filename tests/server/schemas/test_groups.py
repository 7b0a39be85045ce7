"""Every field, default and range of the hosted API page, endpoint for endpoint."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from server.endpoints import ENDPOINTS
from tests.server.schemas.page import PAGE, REQUIRED, choices, ranges, smallest

RANGED = [(id, name, bounds) for id in PAGE for name, bounds in ranges(id).items()]
CHOSEN = [(id, name, values) for id in PAGE for name, values in choices(id).items()]


def parse(endpoint, **fields):
    return PAGE[endpoint][0].model_validate(smallest(endpoint) | fields)


def test_the_table_has_every_endpoint():
    """A new row needs a line of the page to be held against."""
    assert {id: row.input for id, row in ENDPOINTS.items()} == {
        id: schema for id, (schema, _) in PAGE.items()
    }


@pytest.mark.parametrize("endpoint", PAGE)
def test_fields_and_defaults_are_the_pages_in_its_order(endpoint):
    """The same call must mean the same video here and there, and the same form."""
    schema, fields = PAGE[endpoint]
    document = schema.model_json_schema()
    printed = document["properties"]

    assert list(fields) == list(printed) == document["x-fal-order-properties"]
    assert [name for name in fields if fields[name] == REQUIRED] == sorted(
        document["required"], key=list(fields).index
    )
    for name, default in fields.items():
        # A list without a default is an empty one.
        assert default == printed[name].get("default", REQUIRED if name != "loras" else []), name


@pytest.mark.parametrize("endpoint", PAGE)
def test_every_field_has_a_text_of_one_line(endpoint):
    """Forms and code generators print them."""
    for field in PAGE[endpoint][0].model_json_schema()["properties"].values():
        assert field["description"]
        assert "\n" not in field["description"]


@pytest.mark.parametrize("endpoint", PAGE)
def test_null_is_the_default(endpoint):
    """JavaScript sends null where Python leaves a field out."""
    nulls = {name: None for name, default in PAGE[endpoint][1].items() if default != REQUIRED}

    assert parse(endpoint) == parse(endpoint, **nulls)


@pytest.mark.parametrize("endpoint", PAGE)
def test_unknown_fields_are_ignored(endpoint):
    """Litellm and AI SDK add their own, and wrappers send one body to every endpoint."""
    more = {"duration": "5s", "sync_mode": True, "audio_url": "x", "num_images": 4}

    assert parse(endpoint) == parse(endpoint, **more)


@pytest.mark.parametrize("endpoint", PAGE)
def test_what_is_required_is_missed(endpoint):
    """By its name, and as a text."""
    for name in smallest(endpoint):
        for value in (None, 7, ["a"]):
            with pytest.raises(ValidationError) as caught:
                parse(endpoint, **{name: value})
            assert [(name,)] == [error["loc"] for error in caught.value.errors()]


@pytest.mark.parametrize(("endpoint", "field", "bounds"), RANGED)
def test_both_ends_of_a_range_are_in_and_their_neighbours_out(endpoint, field, bounds):
    """Ranges are inclusive, as the page says."""
    low, high = bounds

    for value in bounds:
        assert value == getattr(parse(endpoint, **{field: value}), field)
    for value in (low - 1, high + 1, float("nan"), float("inf")):
        with pytest.raises(ValidationError, match=field):
            parse(endpoint, **{field: value})


@pytest.mark.parametrize(("endpoint", "field", "values"), CHOSEN)
def test_choices_are_exactly_those_of_the_page(endpoint, field, values):
    """An unknown one is refused rather than replaced."""
    for value in values:
        assert value == getattr(parse(endpoint, **{field: value}), field)
    for value in ("", values[0].upper() + "x", 1, True):
        with pytest.raises(ValidationError, match=field):
            parse(endpoint, **{field: value})


@pytest.mark.parametrize("endpoint", PAGE)
def test_a_stored_input_is_read_back_as_it_was(endpoint):
    """A job keeps the validated input as JSON, and is planned from that."""
    wire = parse(endpoint)

    assert wire == type(wire).model_validate(wire.model_dump(mode="json"))


@pytest.mark.parametrize("url", ["", "  ", "a\0b"])
def test_a_url_has_letters_in_it(url):
    """Whether anything is there is found out when it is fetched."""
    with pytest.raises(ValidationError, match="image_url"):
        parse("fal-ai/wan/v2.2-a14b/image-to-video", image_url=url)


def test_space_around_a_url_is_taken_off():
    """It comes with the clipboard."""
    wire = parse("fal-ai/wan/v2.2-a14b/image-to-video", image_url=" https://a/b.png\n")

    assert "https://a/b.png" == wire.image_url


@pytest.mark.parametrize("url", ["", "  ", None])
def test_an_empty_last_frame_is_none(url):
    """A form sends an empty text for the file that nobody chose."""
    assert parse("fal-ai/wan/v2.2-a14b/image-to-video", end_image_url=url).end_image_url is None
