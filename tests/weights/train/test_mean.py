"""The average of several networks."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from weights.train.mean import MODEL, mean


def written(folder, weights, steps="3"):
    folder.mkdir()
    save_file({"weight": weights.half()}, folder / MODEL, {"steps": steps})
    return folder


def test_every_weight_is_the_mean(tmp_path):
    """Of all of them; it goes on counting where the longest course ended."""
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
