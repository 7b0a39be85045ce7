"""Procedural textures, and the bank of them that a training run draws from."""

from __future__ import annotations

import pytest
import torch

from weights.train.textures import DENSITY, RENEWAL, SHARP, SIDE, SOFT, Bank, textures


def test_no_two_textures_are_alike():
    """And each has dark and light in it, in the range of pictures."""
    one, two = textures(2, torch.Generator().manual_seed(0))

    assert (3, SIDE, SIDE) == tuple(one.shape)
    assert 0 <= min(one.min(), two.min()) <= max(one.max(), two.max()) <= 1
    assert min(one.std(), two.std()) > 0.03
    assert (one - two).abs().mean() > 0.05


def test_reading_between_texels_blurs_less_than_noise():
    """Otherwise a frame's blur says how far it has moved, which no real frame's does."""
    picture = textures(1, torch.Generator().manual_seed(0))[0, :, 32:-32, 32:-32]
    between = (picture[..., :-1] + picture[..., 1:]) / 2
    at_texel = (between[..., :-1] + between[..., 1:]) / 2  # half a texel back: blurred by reading

    assert (at_texel - picture[..., 1:-1]).square().mean().sqrt() < 0.02


@pytest.mark.parametrize("step", [0, RENEWAL * 3, RENEWAL * 9 + 5])
def test_a_bank_that_went_on_is_one_made_for_that_step(step):
    """An interrupted run has to see what the other one would have seen."""
    walked = Bank(3, seed=5)
    for earlier in range(0, step, RENEWAL):
        walked.at(earlier)

    assert torch.equal(Bank(3, seed=5).at(step), walked.at(step))


def test_a_bank_changes_one_texture_at_a_time():
    """All at once would cost seconds every now and then."""
    bank = Bank(3, seed=0)
    before = bank.at(0).clone()
    changed = [not torch.equal(a, b) for a, b in zip(before, bank.at(RENEWAL), strict=True)]

    assert [True, False, False] == changed


def test_sharp_textures_are_as_sharp_as_shrunk_video():
    """Soft ones teach nothing about edges that a pixel holds."""
    soft, sharp = (
        textures(6, torch.Generator().manual_seed(0), blur)[..., ::DENSITY, ::DENSITY]
        for blur in (SOFT, SHARP)
    )
    ratios = [
        float(each.diff(n=2).square().mean() / each.diff().square().mean())
        for each in (soft, sharp)
    ]

    assert ratios[0] < 0.75 < 0.8 < ratios[1] < 1.4
