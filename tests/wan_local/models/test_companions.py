"""What stands beside the checkpoints, and how it is fetched."""

from __future__ import annotations

import pytest

from wan_local.errors import BadCheckpoint, WeightsMissing
from wan_local.models.companions import (
    EXPANDER,
    IMAGE_CLASSIFIER,
    TEXT_CLASSIFIER,
    fetch_command,
    find_companion,
)


def test_a_missing_classifier_comes_with_the_command_that_fetches_it(tmp_path):
    """Of the files that are used: the repository holds a gigabyte of others."""
    folder = tmp_path / "a folder"
    with pytest.raises(WeightsMissing) as missing:
        find_companion(IMAGE_CLASSIFIER, folder)

    assert str(missing.value).endswith(
        "This fetches it: hf download Falconsai/nsfw_image_detection --include config.json "
        "--include preprocessor_config.json --include model.safetensors "
        f"--local-dir '{folder}'"
    )


def test_where_nothing_is_known_to_work_the_setting_is_named(tmp_path):
    """A text classifier is the operator's choice."""
    with pytest.raises(WeightsMissing, match="setting safety_text_classifier"):
        find_companion(TEXT_CLASSIFIER, tmp_path / "none")

    assert fetch_command(TEXT_CLASSIFIER, tmp_path) is None


def test_a_whole_folder_is_found(tmp_path):
    """In one piece, or in shards."""
    for name in ("config.json", "tokenizer.json", "model-00001-of-00002.safetensors"):
        (tmp_path / name).write_text("{}")

    assert tmp_path == find_companion(EXPANDER, tmp_path)


@pytest.mark.parametrize(
    "damaged", ["config.json", "preprocessor_config.json", "model.safetensors"]
)
@pytest.mark.parametrize("how", ["absent", "empty"])
def test_a_folder_with_a_gap_is_refused_with_its_name(tmp_path, damaged, how):
    """A download that stopped half-way."""
    for name in IMAGE_CLASSIFIER.files:
        (tmp_path / name).write_text("{}")
    (tmp_path / damaged).unlink()
    if how == "empty":
        (tmp_path / damaged).touch()

    with pytest.raises(
        BadCheckpoint, match=rf"{damaged} is missing or empty\. This fetches it: hf"
    ):
        find_companion(IMAGE_CLASSIFIER, tmp_path)
