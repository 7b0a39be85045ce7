"""Each small checkpoint is what the published one is, only small, and says so."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.wan_local.plans import FAST_WAN, I2V, T2V, TI2V
from wan_local.catalog import MODELS
from wan_local.models.hashes import OURS
from wan_local.models.weights import COMPONENTS, find_checkpoint, small_checkpoint


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        # What the engine wrote down beside the weights when another test had it read them is not
        # the build's.
        if path.is_file() and path.name != OURS
    }


def test_building_twice_makes_the_same_bytes(weights, tmp_path):
    """A failing test is the same failing test on the next run."""
    build = [sys.executable, "-m", "weights.build_small", tmp_path]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)

    for model in MODELS:
        assert digests(weights / model) == digests(tmp_path / model)


def test_it_has_the_parts_of_the_published_checkpoint(weights):
    """Whatever loads the one loads the other."""
    index = json.loads((weights / T2V / "model_index.json").read_text())

    assert find_checkpoint(weights, T2V)
    assert "WanPipeline" == index["_class_name"]
    assert 0.875 == index["boundary_ratio"]
    assert {name: part.classes[0] for name, part in COMPONENTS.items()} == {
        name: value[1] for name, value in index.items() if isinstance(value, list)
    }


@pytest.mark.parametrize(
    ("model", "pipeline", "boundary"),
    [
        (I2V, "WanImageToVideoPipeline", 0.9),
        (TI2V, "WanPipeline", None),
        (FAST_WAN, "WanDMDPipeline", None),
    ],
)
def test_every_kind_is_laid_out_as_it_was_published(weights, model, pipeline, boundary):
    """With the entries that are null there: an image encoder, a second expert."""
    index = json.loads((weights / model / "model_index.json").read_text())

    assert find_checkpoint(weights, model)
    assert (pipeline, boundary) == (index["_class_name"], index["boundary_ratio"])
    assert (boundary is None) == index["expand_timesteps"]
    null = {name for name, value in index.items() if value == [None, None]}
    assert null == ({"image_encoder", "image_processor"} if model == I2V else {"transformer_2"})


@pytest.mark.parametrize("model", MODELS)
def test_it_is_small_and_says_that_it_knows_nothing(weights, model):
    """It must never be taken for Wan 2.2."""
    size = sum(path.stat().st_size for path in (weights / model).rglob("*") if path.is_file())

    assert size < 8_000_000
    assert f"{model}-mini (random weights)" == small_checkpoint(weights / model).title


@pytest.mark.parametrize("model", MODELS)
def test_sizes_lie_on_the_grid_of_their_model(weights, model):
    """A size off the grid would be refused by the very model that it was chosen for."""
    grid = MODELS[model].grid
    for asked, generated in small_checkpoint(weights / model).sizes.items():
        assert {0} == {side % grid for side in (generated.width, generated.height)}
        assert {0} == {side % grid for side in (asked.width, asked.height)}


def test_what_two_kinds_share_is_on_disk_once(weights):
    """As in the published ones, where the text encoder is 11 GB each time."""
    for part in ("text_encoder/model.safetensors", "tokenizer/tokenizer.json"):
        files = [weights / model / part for model in MODELS]
        assert 1 == len({file.stat().st_ino for file in files})


def test_no_two_transformers_are_equal(weights):
    """Were they, a test could not see which model worked."""
    name = "diffusion_pytorch_model.safetensors"
    files = [weights / m / expert / name for m in MODELS for expert in MODELS[m].experts]

    assert len(files) == len({hashlib.sha256(file.read_bytes()).hexdigest() for file in files})


def test_the_two_experts_differ(weights):
    """Were they equal, a test could not see which of them worked."""
    files = digests(weights / T2V)
    name = "diffusion_pytorch_model.safetensors"

    assert files[f"transformer/{name}"] != files[f"transformer_2/{name}"]
    assert files["transformer/config.json"] == files["transformer_2/config.json"]
