"""Move a transformer from one VAE's latents to another's: what it knows is not learned twice.

    python -m weights.train.graft EXPERT VAE21 VAE22 OUT

A token of the 5B kind is 32 pixels a side and one of the A14B kind 16: a clip drawn twice as large
has the same tokens. Its blocks stay as they are. Between them and the latents stand two matrices,
and what one VAE says of a patch follows from what the other says of it, roughly and linearly:
least squares over clips that were drawn in both sizes gives the matrices that training begins with.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from torch import Tensor

from wan_local.geometry import PATCH
from weights.train.clips import random_scene, render
from weights.train.corpus import latents_of
from weights.train.experts import read_expert

SIZES = ((80, 144), (96, 176), (80, 80))
"""Height and width of the smaller of two clips."""
LENGTHS = (1, 1, 17)
"""Frames of a clip: each size is drawn at each of them in turn."""
SCALE = 2
"""How many times as large a clip is for the VAE of 16 pixels."""


@torch.inference_mode()
def pairs(smaller: Any, larger: Any, clips: int) -> tuple[Tensor, Tensor]:
    """Return the patches of latents of the same clips by two VAEs.

    Args:
        smaller: Of 8 pixels a latent.
        larger: Of 16; sees each clip twice as large.
        clips: How many.

    Returns:
        [patches, channels, PATCH × PATCH] of each.
    """
    found: tuple[list[Tensor], list[Tensor]] = ([], [])
    for number in range(clips):
        scene = random_scene(torch.Generator().manual_seed(number))
        height, width = SIZES[number % len(SIZES)]
        for vae, scale, patches in zip((smaller, larger), (1, SCALE), found, strict=True):
            clip = render(
                scene,
                frames=LENGTHS[number // len(SIZES) % len(LENGTHS)],
                height=scale * height,
                width=scale * width,
                generator=torch.Generator().manual_seed(number),
            )
            patches.append(_patches(latents_of(vae, clip)))
    return torch.cat(found[0]), torch.cat(found[1])


def _patches(latents: Tensor) -> Tensor:
    """[channels, frames, height, width] -> [patches, channels, PATCH × PATCH]."""
    tiles = latents.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)
    return tiles.permute(1, 2, 3, 0, 4, 5).flatten(4).flatten(0, 2)


@torch.no_grad()
def graft(expert: Any, before: Tensor, after: Tensor) -> Any:
    """Return *expert* with an entrance and an exit for other latents.

    Args:
        expert: diffusers' WanTransformer3DModel, in float32.
        before: Patches of the latents it knows, [patches, channels, PATCH × PATCH].
        after: The same patches in the other latents.
    """
    channels, old = after.shape[1], before.shape[1]
    config = {**expert.config, "in_channels": channels, "out_channels": channels}
    model = WanTransformer3DModel.from_config(config)
    state = expert.state_dict()
    known, other = before.flatten(1), after.flatten(1)
    into = _least_squares(other, known)
    entrance = expert.patch_embedding.weight.flatten(1) @ into.T
    state["patch_embedding.weight"] = entrance.view(-1, channels, 1, PATCH, PATCH)
    # An exit's rows are places of a patch, each with all its channels; an entrance's, the reverse.
    back = _least_squares(known, other).view(old, PATCH * PATCH, channels, PATCH * PATCH)
    back = back.permute(1, 0, 3, 2).reshape(known.shape[1], other.shape[1]).T
    state["proj_out.weight"] = back @ expert.proj_out.weight
    state["proj_out.bias"] = back @ expert.proj_out.bias
    model.load_state_dict(state)
    return model


def _least_squares(given: Tensor, wanted: Tensor) -> Tensor:
    """Return the matrix that makes *wanted* of *given*; zero where given ones always are."""
    found: Tensor = torch.linalg.pinv(given.double(), rtol=1e-4) @ wanted.double()
    return found.float()


def write(expert: Path, smaller: Path, larger: Path, out: Path, clips: int) -> None:
    """Write the transformer in *expert*, for the latents of *larger*, to *out*."""
    torch.set_flush_denormal(True)
    vaes = [
        AutoencoderKLWan.from_pretrained(folder, torch_dtype=torch.float32)
        for folder in (smaller, larger)
    ]
    graft(read_expert(expert), *pairs(*vaes, clips)).half().save_pretrained(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("expert", "vae21", "vae22", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--clips", type=int, default=90, help="drawn in both sizes")
    flags = parser.parse_args()
    write(flags.expert, flags.vae21, flags.vae22, flags.out, flags.clips)
