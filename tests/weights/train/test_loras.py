"""A LoRA as it is trained against its file as the engine applies it."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from tests.weights.train.worlds import awake, small_shape
from wan_local.models.loras.adapter import read_adapter
from wan_local.models.loras.applying import Weighted, applied
from weights.train.loras import LAYOUTS, Lora
from weights.train.text import DIM
from weights.train.transformer import build, short_text, velocity

BOTH = frozenset({"high", "low"})


def trained(expert, **choices):
    """A LoRA whose numbers are those that its file can hold."""
    generator = torch.Generator().manual_seed(2)
    lora = Lora(expert, rank=4, **choices)
    with torch.no_grad():
        for parameter in lora.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator).mul(0.1).half())
    return lora


@pytest.fixture
def expert(monkeypatch):
    small_shape(monkeypatch)
    torch.manual_seed(5)
    return awake(build()).requires_grad_(requires_grad=False)


@pytest.mark.parametrize(
    ("layout", "whole"), [*((name, False) for name in LAYOUTS), ("lightx2v", True)]
)
@torch.inference_mode()
def test_the_file_does_what_was_trained(layout, whole, expert, tmp_path):
    """Read by the project's reader, applied to the expert, and taken off again to the last bit."""
    lora = trained(expert, whole=whole)
    lora.save(tmp_path / "lora.safetensors", layout)
    shapes = {name: tuple(p.shape) for name, p in expert.named_parameters()}
    adapter = read_adapter(tmp_path / "lora.safetensors", shapes)
    processor = short_text(expert)
    given = (
        torch.randn(2, 16, 3, 4, 6),
        torch.tensor([0.9, 0.4]),
        (torch.randn(2, 5, DIM), torch.tensor([5, 3])),
    )
    student = velocity(lora.on(expert), processor, *given)
    before = {name: p.clone() for name, p in expert.named_parameters()}
    plain = velocity(expert, processor, *given)
    with applied(expert, [Weighted(adapter, 1.0, BOTH)], expert="high", originals={}):
        engines = velocity(expert, processor, *given)

    assert (engines - student).abs().max() <= 1e-5 * max(1.0, float(engines.std()))
    assert (engines - plain).std() > 0.05 * plain.std()
    assert all(torch.equal(before[name], p) for name, p in expert.named_parameters())
    assert adapter.coverage.applied == adapter.coverage.total
    assert {} == adapter.coverage.dropped
    if whole:
        assert adapter.changes.keys() == shapes.keys()


def test_a_distilled_pair_is_named_as_the_published_ones(expert, tmp_path):
    """The kinds of keys that lightx2v's own files have."""
    trained(expert, whole=True).save(tmp_path / "lora.safetensors", "lightx2v")
    keys = load_file(tmp_path / "lora.safetensors").keys()

    for ending in (
        "blocks.0.self_attn.q.lora_down.weight",
        "blocks.1.ffn.2.alpha",
        "blocks.0.cross_attn.o.diff_b",
        "blocks.0.cross_attn.norm_k.diff",
        "blocks.1.norm3.diff_b",
        "blocks.0.diff_m",
        "head.head.lora_up.weight",
        "head.diff_m",
        "patch_embedding.diff",
        "time_projection.1.lora_down.weight",
    ):
        assert f"diffusion_model.{ending}" in keys


def test_it_begins_as_nothing_and_learns_without_the_expert(expert):
    """The expert is frozen: its bytes are shared by every LoRA."""
    lora, processor = Lora(expert, rank=4, whole=True), short_text(expert)
    given = (
        torch.randn(1, 16, 1, 4, 4),
        torch.tensor([0.5]),
        (torch.randn(1, 3, DIM), torch.tensor([3])),
    )
    seen = velocity(lora.on(expert), processor, *given)

    assert torch.equal(velocity(expert, processor, *given), seen)
    seen.square().mean().backward()
    assert all(p.grad is not None for p in [*lora.up.values(), *lora.diff.values()])
    assert all(p.grad is None for p in expert.parameters())
