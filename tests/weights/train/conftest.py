"""What several tests of training stand on."""

from __future__ import annotations

import pytest

from tests.weights.train.worlds import text_side


@pytest.fixture(scope="session")
def words(tmp_path_factory):
    """A folder with a tokenizer of captions and an untrained text encoder."""
    folder = tmp_path_factory.mktemp("words")
    text_side(folder)
    return folder
