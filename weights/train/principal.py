"""Turn a finished VAE's latents into their principal directions, and leave the weak ones empty.

    python -m weights.train.principal 2.2 VAE OUT

A VAE in Wan 2.2's layout has 48 channels of latents, and drawn shapes fill fewer: of the small one
of 62 minutes, 29 directions hold all there is and 20 of them all but 0.3 dB (8 held-out clips). A
transformer has to carry the noise of every channel from its entrance to its exit, and where it
carries that of empty ones it has no room for shapes. A channel is a direction here, each of unit
variance; those left over are zero, and nothing learns or reads them. Turning costs nothing: the
first and the last layer at the latents are 1×1×1 convolutions.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from weights.train.autoencoder import SIZES, samples

KEPT = 20
"""Directions that stay."""
EMPTY = -30.0
"""Logarithm of the variance of a channel without content."""


@torch.no_grad()
def turn(vae: Any, latents: Tensor, spread: Tensor, kept: int = KEPT) -> None:
    """Make the *kept* strongest directions of *latents* the first channels of *vae*, in place.

    Args:
        vae: diffusers' AutoencoderKLWan, in float32.
        latents: Means, [many, z].
        spread: Variances around them, [many, z]; on average they become those of the directions.
        kept: How many channels are left; the others are zero from now on.
    """
    z = vae.config.z_dim
    mean = latents.double().mean(0)
    variances, directions = torch.linalg.eigh(torch.cov(latents.double().T))
    variances, directions = variances.flip(0), directions.flip(1)
    into, bias = vae.quant_conv.weight, vae.quant_conv.bias
    into[:z] = torch.einsum("ik,io...->ko...", directions, into[:z].double()).float()
    bias[:z] = (directions.T @ bias[:z].double()).float()
    into[z:] = 0
    bias[z:] = (directions.T.square() @ spread.double().mean(0)).log().float()
    for rows in (into[kept:z], bias[kept:z]):
        rows.zero_()
    bias[z + kept :] = EMPTY
    out = vae.post_quant_conv
    turned = torch.einsum("oi...,ik->ok...", out.weight.double(), directions)
    left_over = directions.T @ mean
    left_over[:kept] = 0
    out.bias += (turned.flatten(1) @ left_over).float()
    turned[:, kept:] = 0
    out.weight.copy_(turned.float())
    centre = (directions.T @ mean)[:kept].tolist() + [0.0] * (z - kept)
    scale = variances[:kept].sqrt().tolist() + [1.0] * (z - kept)
    vae.register_to_config(latents_mean=centre, latents_std=scale)


def write(layout: str, finished: Path, out: Path, kept: int = KEPT, batches: int = 12) -> None:
    """Write the VAE in *finished* to *out*, its latents turned, in half precision."""
    torch.set_flush_denormal(True)
    vae = AutoencoderKLWan.from_pretrained(finished, torch_dtype=torch.float32)
    turn(vae, *samples(vae, layout, batches), kept)
    vae.half().save_pretrained(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("layout", choices=SIZES)
    parser.add_argument("finished", type=Path, metavar="VAE")
    parser.add_argument("out", type=Path)
    parser.add_argument("--kept", type=int, default=KEPT, help="channels with content")
    parser.add_argument("--batches", type=int, default=12, help="of 8 clips, to measure with")
    flags = parser.parse_args()
    write(flags.layout, flags.finished, flags.out, flags.kept, flags.batches)
