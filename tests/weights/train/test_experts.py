"""The shortcuts of training against the model as the engine runs it."""

from __future__ import annotations

import torch

from wan_local.stages.prompt import MAX_TOKENS
from weights.train.experts import BOUNDARY, build, noise_levels, short_text, velocity
from weights.train.text import DIM


def awake(model):
    """Undo the quiet beginning: a model that changes nothing agrees with anything."""
    with torch.no_grad():
        model.proj_out.weight.normal_(0, 0.1)
        for block in model.blocks:
            block.scale_shift_table[:, [2, 5]] = 1
    return model


@torch.inference_mode()
def test_one_row_of_padding_stands_for_all_of_them():
    """Experts are trained on short texts and run on 512 rows: it must be the same function."""
    torch.manual_seed(1)
    model = awake(build())
    lengths = torch.tensor([4, 9, 1])
    embeds = torch.randn(3, 9, DIM) * (torch.arange(9)[None] < lengths[:, None])[..., None]
    noisy, sigma = torch.randn(3, 16, 3, 8, 14), torch.tensor([0.9, 0.5, 0.1])
    padded = torch.nn.functional.pad(embeds, (0, 0, 0, MAX_TOKENS - 9))
    theirs = model(noisy, sigma * 1000, padded, return_dict=False)[0]
    ours = velocity(model, short_text(model), noisy, sigma, (embeds, lengths))

    assert (theirs - ours).abs().max() <= 1e-4 * theirs.std()
    assert theirs[0].sub(theirs[2]).std() > 0.1 * theirs.std()


def test_each_side_draws_its_own_noise_levels():
    """An expert trained on the other's levels would be trained for nothing."""
    generator = torch.Generator().manual_seed(0)

    assert noise_levels(500, "high", generator).min() >= BOUNDARY
    assert noise_levels(500, "low", generator).max() <= BOUNDARY
    both = noise_levels(500, "both", generator)
    assert 0 <= both.min() < 0.3
    assert 0.98 < both.max() <= 1
