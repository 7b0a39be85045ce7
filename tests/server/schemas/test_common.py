"""What all inputs share."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from server.schemas.common import File, Prompt, WireInput


class Wire(WireInput):
    a: int = 1


@pytest.mark.parametrize("body", [{}, {"a": None}, {"a": 1, "b": 2}, {"b": None}])
def test_null_and_unknown_fields_change_nothing(body):
    """Whatever clients add or leave empty."""
    assert Wire() == Wire.model_validate(body)


def test_what_is_no_object_is_refused():
    """And not taken for an empty one."""
    with pytest.raises(ValidationError):
        Wire.model_validate([])


def test_a_prompt_has_a_length_and_no_nul():
    """10 000 characters are far past what the text encoder reads."""
    prompt = TypeAdapter(Prompt)

    assert 10_000 == len(prompt.validate_python("é" * 10_000))
    for text in ("a" * 10_001, "a\0"):
        with pytest.raises(ValidationError):
            prompt.validate_python(text)


def test_a_file_needs_nothing_but_its_url():
    """As in fal's own schema."""
    assert {"url": "u"} == File(url="u").model_dump(exclude_none=True)
