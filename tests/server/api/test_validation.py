"""JSON and schemas: what is wrong, in fal's words."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from server.api.errors import Refused
from server.api.validation import MOST_ERRORS, invalid, parse_object, validate


class Lora(BaseModel):
    target: Literal["high", "low"]


class Wire(BaseModel):
    name: Annotated[str, Field(min_length=2, max_length=3)] = "abc"
    above: Annotated[int, Field(gt=1, lt=9)] = 5
    even: Annotated[int, Field(multiple_of=2)] = 2
    loras: Annotated[list[Lora], Field(min_length=0, max_length=30)] = []


def errors(body):
    with pytest.raises(Refused) as refused:
        validate(Wire, body)
    assert 422 == refused.value.status
    return refused.value.body["detail"]


@pytest.mark.parametrize(
    ("body", "type", "ctx"),
    [
        ({"name": "a"}, "sequence_too_short", {"min_length": 2}),
        ({"name": "abcd"}, "sequence_too_long", {"max_length": 3}),
        ({"above": 1}, "greater_than", {"gt": 1}),
        ({"above": 9}, "less_than", {"lt": 9}),
        ({"even": 3}, "multiple_of", {"multiple_of": 2}),
        ({"loras": [{"target": "low"}] * 31}, "sequence_too_long", {"max_length": 30}),
        ({"loras": [{"target": "mid"}]}, "one_of", {"expected": ["high", "low"]}),
    ],
)
def test_each_type_has_fals_name_and_context(body, type, ctx):
    """Fal's own list of errors; `ctx` holds what a front end shows beside the field."""
    (detail,) = errors(body)

    assert (type, ctx, f"https://docs.fal.ai/errors/#{type}") == (
        detail["type"],
        detail["ctx"],
        detail["url"],
    )


def test_a_place_deep_in_the_body_is_named():
    """The third LoRA of five, not `loras`."""
    (detail,) = errors({"loras": [{"target": "low"}, {}]})

    assert ["body", "loras", 1, "target"] == detail["loc"]


def test_all_errors_come_at_once_but_not_a_million():
    """A form shows them side by side; a body made of errors must not become a larger answer."""
    assert 3 == len(errors({"name": "a", "above": 1, "even": 3}))
    assert MOST_ERRORS == len(errors({"loras": [{}] * 30}))


@pytest.mark.parametrize(
    "value", ["x" * 2000, ["x" * 2000], {"a": "x" * 2000}, [0] * 2000, 2**70, object()]
)
def test_a_long_value_is_not_sent_back(value):
    """A data URI of 30 MB, a value JSON cannot hold."""
    (detail,) = errors({"name": value})

    assert "input" not in detail


def test_a_short_value_is_quoted():
    """It shows what arrived, after all the layers on the way."""
    (detail,) = errors({"name": 7})

    assert 7 == detail["input"]


def test_no_body_is_an_empty_object():
    """JavaScript sends none when there is no input."""
    assert {} == parse_object(b"")
    assert {"a": 1} == parse_object(b' {"a":1}\n')


@pytest.mark.parametrize(
    "raw", [b"{", b"{'a':1}", b'{"a":NaN}', b'{"a":1}x', b"\xff", b'{"a":"\\udfff"}', b'{"a":01}']
)
def test_what_is_not_json_is_said_with_its_place(raw):
    """The number after `body` is the offset."""
    with pytest.raises(Refused) as refused:
        parse_object(raw)
    (detail,) = refused.value.body["detail"]

    assert "json_invalid" == detail["type"]
    assert "body" == detail["loc"][0]
    assert isinstance(detail["loc"][1], int)


@pytest.mark.parametrize("raw", [b"[]", b"null", b'"x"', b"7", b"true"])
def test_json_that_is_no_object(raw):
    """Inputs are objects."""
    with pytest.raises(Refused) as refused:
        parse_object(raw)

    assert invalid((), "dict_type", "Input should be a valid dictionary").body == refused.value.body
