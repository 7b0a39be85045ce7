"""The shortcuts of training against the model as the engine runs it."""

from __future__ import annotations

import torch

from tests.weights.train.worlds import awake
from wan_local.stages.prompt import MAX_TOKENS
from weights.train.text import DIM
from weights.train.transformer import build, short_text, velocity


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
