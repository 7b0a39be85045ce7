"""A transformer that is moved to another VAE's latents."""

from __future__ import annotations

import torch
from diffusers import WanTransformer3DModel

from tests.weights.train.worlds import awake, finished, small_shape
from wan_local.stages.prompt import MAX_TOKENS
from weights.train import graft as module
from weights.train.graft import graft, pairs, write
from weights.train.text import DIM
from weights.train.transformer import build


@torch.inference_mode()
def test_latents_that_are_others_in_disguise_give_the_same_tokens(monkeypatch):
    """Where one patch follows from the other exactly, the grafted model says what the first did."""
    small_shape(monkeypatch)
    torch.manual_seed(0)
    model = awake(build())
    disguise, _ = torch.linalg.qr(torch.randn(192, 64))  # what is 64 numbers, spread over 192
    patches = torch.randn(400, 16, 4)
    others = (patches.flatten(1) @ disguise.T).view(400, 48, 4)
    grafted = graft(model, patches, others)
    words = torch.randn(1, MAX_TOKENS, DIM)

    def said(network, patch):
        noisy = patch.view(1, -1, 1, 2, 2)
        return network(noisy, torch.tensor([500.0]), words, return_dict=False)[0]

    first = said(model, patches[0]).flatten()
    other = said(grafted, others[0]).flatten()
    assert torch.allclose(disguise @ first, other, atol=1e-4 * float(first.abs().max()) + 1e-5)
    assert first.std() > 0.05


def test_channels_that_are_empty_are_neither_read_nor_written(monkeypatch):
    """Or noise that a decoder ignores would come in through them."""
    small_shape(monkeypatch)
    others = torch.randn(300, 48, 4)
    others[:, 20:] = 0
    grafted = graft(awake(build()), torch.randn(300, 16, 4), others)
    out = grafted.proj_out.weight.view(4, 48, -1)

    assert grafted.patch_embedding.weight[:, 20:].abs().max() == 0
    assert out[:, 20:].abs().max() == grafted.proj_out.bias.view(4, 48)[:, 20:].abs().max() == 0
    assert grafted.patch_embedding.weight[:, :20].abs().min() > 0 < out[:, :20].abs().min()


def test_the_same_clip_gives_as_many_patches_by_either_vae(tmp_path):
    """Drawn twice as large for the one of 16 pixels; pictures, and clips of 17 frames."""
    vaes = finished("2.1", tmp_path / "a"), finished("2.2", tmp_path / "b")
    before, after = pairs(*vaes, clips=7)
    tokens = [5 * 9, 6 * 11, 5 * 5]

    assert (2 * sum(tokens) + 5 * tokens[0], 16, 4) == before.shape
    assert (len(before), 48, 4) == after.shape


def test_it_is_one_command(tmp_path, monkeypatch):
    """From an expert and two VAEs to one that diffusers loads."""
    small_shape(monkeypatch)
    monkeypatch.setattr(module, "SIZES", ((32, 32),))
    finished("2.1", tmp_path / "a")
    finished("2.2", tmp_path / "b")
    awake(build()).save_pretrained(tmp_path / "expert")
    write(tmp_path / "expert", tmp_path / "a", tmp_path / "b", tmp_path / "out", clips=2)
    config = WanTransformer3DModel.from_pretrained(tmp_path / "out").config

    assert (48, 48, 2) == (config.in_channels, config.out_channels, config.num_layers)
