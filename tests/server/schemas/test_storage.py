"""Bodies of the upload calls, in each client's form."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from server.schemas.storage import CompleteInput, InitiateInput


def test_an_announcement_may_be_empty():
    """Names and types are looked after by the store."""
    assert ("", "") == (InitiateInput().file_name, InitiateInput().content_type)
    assert "" == InitiateInput.model_validate({"file_name": None}).file_name


def test_parts_keep_their_order():
    """They are sorted where they are joined."""
    body = {"parts": [{"partNumber": 2, "etag": "b"}, {"partNumber": 1}]}

    assert [2, 1] == [part.partNumber for part in CompleteInput.model_validate(body).parts]


@pytest.mark.parametrize(
    "body", [{}, {"parts": None}, {"parts": [{}]}, {"parts": [{"partNumber": "x"}]}]
)
def test_a_completion_names_its_parts(body):
    """To guess them would make files with holes."""
    with pytest.raises(ValidationError):
        CompleteInput.model_validate(body)
