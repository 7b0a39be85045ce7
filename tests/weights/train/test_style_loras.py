"""Teaching a style to experts that stay as they are."""

from __future__ import annotations

import pytest
import torch

from tests.weights.train.worlds import awake, finished, small_shape
from wan_local.models.loras.adapter import read_adapter
from weights.train import corpus as module
from weights.train.corpus import Corpus, Kind, write
from weights.train.experts import read_texts
from weights.train.style_loras import files, train
from weights.train.styles import STYLES
from weights.train.transformer import build

pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")


def test_the_two_styles_come_in_two_layouts():
    """A pair of one trainer, and one file of another."""
    taught = {name: STYLES[name].layout for name in STYLES if name != "plain"}

    assert len(taught) == len(set(taught.values()))
    assert {
        "dusk_high_noise.safetensors": ("high",),
        "dusk_low_noise.safetensors": ("low",),
    } == (files("dusk"))
    assert {"blueprint.safetensors": ("high", "low")} == files("blueprint")


@pytest.mark.parametrize("style", [name for name in STYLES if name != "plain"])
def test_a_style_goes_from_clips_to_a_file(style, words, tmp_path, monkeypatch):
    """Drawn, encoded, taught, and read by the project's own reader."""
    small_shape(monkeypatch)
    monkeypatch.setattr(module, "KINDS", {"t2v": (Kind(5, 32, 32, 20, 1.0),)})
    monkeypatch.setattr(module, "PER_SHARD", 4)
    finished("2.1", tmp_path / "vae")
    write(tmp_path / "vae", tmp_path / "corpus", style=style)
    experts = {side: awake(build()).requires_grad_(requires_grad=False) for side in ("high", "low")}
    before = {name: p.clone() for name, p in experts["low"].named_parameters()}
    name, sides = list(files(style).items())[-1]
    train(
        Corpus(tmp_path / "corpus"),
        read_texts(words),
        [(side, experts[side]) for side in sides],
        tmp_path / name,
        layout=STYLES[style].layout,
        minutes=0.01,
    )
    shapes = {name: tuple(p.shape) for name, p in experts["low"].named_parameters()}
    changes = read_adapter(tmp_path / name, shapes).changes

    assert ["5x32x32.000.safetensors"] == [path.name for path in (tmp_path / "corpus").iterdir()]
    assert 2 * 10 == len(changes)
    assert all(torch.equal(before[name], p) for name, p in experts["low"].named_parameters())
    assert any(change.parts["up"].any() for (change,) in changes.values())
