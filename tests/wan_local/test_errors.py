"""Errors are sentences."""

from __future__ import annotations

import pytest

from wan_local import errors
from wan_local.errors import WanLocalError

CLASSES = [
    cls
    for cls in vars(errors).values()
    if isinstance(cls, type) and cls.__module__ == errors.__name__
]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_an_error_without_words_says_its_docstring(cls):
    """No client ever reads an empty message."""
    assert cls.__doc__ == str(cls())
    assert "in particular" == str(cls("in particular"))


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_one_except_catches_all_of_ours(cls):
    """The slot tells our refusals from bugs by this one class."""
    assert issubclass(cls, WanLocalError)
