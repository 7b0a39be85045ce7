"""The average of several networks."""

from __future__ import annotations

import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.weights.train.worlds import awake, small_shape
from weights.train.mean import FILES, mean
from weights.train.transformer import build

MODEL = FILES[0]


def written(folder, weights, steps="3"):
    folder.mkdir()
    save_file({"weight": weights.half()}, folder / MODEL, {"steps": steps})
    return folder


def test_every_weight_is_the_mean(tmp_path):
    """Of all of them; it goes on counting where the last course ended."""
    each = [written(tmp_path / f"{n}", torch.full((2, 3), n / 4), f"{n}") for n in (1, 2, 6)]
    mean(each, tmp_path / "new" / "mean")
    found = tmp_path / "new" / "mean" / MODEL

    assert torch.equal(torch.full((2, 3), 0.75).half(), load_file(found)["weight"])
    with safe_open(found, "pt") as opened:
        assert {"steps": "6"} == opened.metadata()


def test_networks_that_differ_are_not_averaged(tmp_path):
    """Or weights would be dropped in silence."""
    pair = [written(tmp_path / f"{n}", torch.zeros(n, 3)) for n in (2, 3)]

    with pytest.raises(ValueError, match=r"not of one network: .*2.model.*3.model"):
        mean(pair, tmp_path / "mean")


def test_a_folder_without_a_network_is_named(tmp_path):
    """By its own name, not only by that of the file it lacks."""
    with pytest.raises(FileNotFoundError, match=r"diffusion_pytorch_model.safetensors in .*/empty"):
        mean([written(tmp_path / "one", torch.zeros(2)), tmp_path / "empty"], tmp_path / "mean")


def test_the_mean_of_transformers_is_one_that_diffusers_loads(tmp_path, monkeypatch):
    """Its configuration comes with it."""
    small_shape(monkeypatch)
    pair = [awake(build()) for _ in range(2)]
    for number, model in enumerate(pair):
        model.half().save_pretrained(tmp_path / f"{number}")
    mean([tmp_path / "0", tmp_path / "1"], tmp_path / "mean")
    found = WanTransformer3DModel.from_pretrained(tmp_path / "mean", torch_dtype=torch.float16)

    weights = [model.proj_out.weight.float() for model in pair]
    assert torch.equal(found.proj_out.weight, (sum(weights) / 2).half())
    assert not torch.equal(weights[0], weights[1])
