"""The small classifier is laid out like the published one, and has a positive and negatives."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open

from wan_local.models.classifiers import load_picture_classifier
from weights.build_small_safety import FOLDER, build


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build(tmp_path_factory.mktemp("small"))


def score(folder, rgb):
    frame = torch.tensor(rgb, dtype=torch.uint8).expand(1, 48, 64, 3)
    return float(load_picture_classifier(folder)(frame)[0, 1])


def test_it_is_laid_out_like_the_published_one(folder):
    """Names of files, labels and tensors: what loads it loads the real one."""
    config = json.loads((folder / "config.json").read_text())
    with safe_open(folder / "model.safetensors", "pt") as tensors:
        names = set(tensors.keys())

    assert FOLDER == folder.name
    assert {"0": "normal", "1": "nsfw"} == config["id2label"]
    assert ["ViTForImageClassification"] == config["architectures"]
    assert "vit.encoder.layer.0.attention.attention.query.weight" in names
    assert {"classifier.weight", "classifier.bias"} <= names


def test_saturated_red_is_flagged(folder):
    """The positive that tests of refusals need."""
    assert score(folder, (255, 0, 0)) > 0.99


@pytest.mark.parametrize(
    "rgb",
    [(0, 0, 0), (255, 255, 255), (128, 128, 128), (0, 255, 0), (0, 0, 255), (255, 0, 255),
     (180, 60, 60)],
)  # fmt: skip
def test_other_colours_are_not(folder, rgb):
    """Nor is the coloured noise that the small checkpoint makes, so that most jobs pass."""
    assert score(folder, rgb) < 0.01
