"""The small checkpoint is what the published one is, only small, and says so."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

from tests.conftest import ROOT
from tests.wan_local.plans import T2V
from wan_local.models.weights import COMPONENTS, find_checkpoint, small_checkpoint


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_building_twice_makes_the_same_bytes(weights, tmp_path):
    """A failing test is the same failing test on the next run."""
    script = ROOT / "weights" / "build_small.py"
    subprocess.run([sys.executable, script, tmp_path], check=True, capture_output=True)

    assert digests(weights / T2V) == digests(tmp_path / T2V)


def test_it_has_the_parts_of_the_published_checkpoint(weights):
    """Whatever loads the one loads the other."""
    index = json.loads((weights / T2V / "model_index.json").read_text())

    assert find_checkpoint(weights, T2V)
    assert "WanPipeline" == index["_class_name"]
    assert 0.875 == index["boundary_ratio"]
    assert {name: part.classes[0] for name, part in COMPONENTS.items()} == {
        name: value[1] for name, value in index.items() if isinstance(value, list)
    }


def test_it_is_small_and_says_that_it_knows_nothing(weights):
    """It must never be taken for Wan 2.2."""
    size = sum(path.stat().st_size for path in (weights / T2V).rglob("*") if path.is_file())

    assert size < 8_000_000
    assert "random weights" in small_checkpoint(weights / T2V).title


def test_the_two_experts_differ(weights):
    """Were they equal, a test could not see which of them worked."""
    files = digests(weights / T2V)
    name = "diffusion_pytorch_model.safetensors"

    assert files[f"transformer/{name}"] != files[f"transformer_2/{name}"]
    assert files["transformer/config.json"] == files["transformer_2/config.json"]
