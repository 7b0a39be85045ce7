"""Train a small Wan VAE on captioned clips.

    python -m weights.train.autoencoder 2.1 OUT --minutes 58
    python -m weights.train.autoencoder 2.1 OUT2 --minutes 30 --decoder-of OUT

Stops and goes on where it stopped; the same seed on the same machine sees the same clips. The
second teaches a finished VAE's decoder the sizes at which it is used, and leaves its encoder and so
its latents as they are: what was trained on those stays right.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from weights.train.assemble import SIZES_OF_5B, SIZES_OF_A14B
from weights.train.clips import random_scene, render
from weights.train.progress import Course
from weights.train.whole_clips import decode, encode

SHARED = {"num_res_blocks": 1, "temperal_downsample": [False, True, True]}
LAYOUTS: dict[str, dict[str, Any]] = {
    "2.1": {**SHARED, "base_dim": 6, "z_dim": 16, "dim_mult": [1, 2, 6, 12]},
    "2.2": {
        **SHARED,
        "base_dim": 12,
        "decoder_base_dim": 12,
        "z_dim": 48,
        "dim_mult": [1, 2, 4, 4],
        "in_channels": 12,
        "out_channels": 12,
        "patch_size": 2,
        "is_residual": True,
        "scale_factor_spatial": 16,
        "scale_factor_temporal": 4,
        "latents_mean": [0.0] * 48,
        "latents_std": [1.0] * 48,
    },
}
SIZES = {
    "2.1": ((64, 112), (112, 64), (80, 80), (64, 64), (64, 96)),
    "2.2": ((64, 96), (96, 96), (96, 160), (160, 96), (160, 160), (160, 288)),
}
"""Height and width, by layout: on the grid of 16, or of 32."""
SIZES_IN_USE = {
    layout: tuple((height, width) for width, height in dict.fromkeys(sizes.values()))
    for layout, sizes in (("2.1", SIZES_OF_A14B), ("2.2", SIZES_OF_5B))
}
"""Those that checkpoints generate."""
LARGE = 20000
"""Pixels of a frame from which on a batch of clips is one."""
LENGTHS = (17, 17, 33, 81, 161)
"""Frames of the clip that a part is cut from: what is slow in one is quick in another."""
MATRICES = 20 / 3
"""How much faster matrices are learned by Muon than the rest by AdamW."""
KL = 1e-4
"""Weight of the latents' distance from unit variance: enough to keep them smooth."""


def build(layout: str) -> Any:
    """Return a fresh VAE of *layout*, its temporal taps silent: it begins as an image model."""
    vae = AutoencoderKLWan(**LAYOUTS[layout])
    for module in vae.modules():
        weight = getattr(module, "weight", None)
        if isinstance(module, torch.nn.Conv3d) and weight.shape[2] == 3:
            with torch.no_grad():
                weight[:, :, :2] *= 0.1
                weight[:, :, 2] *= 1.7
    with torch.no_grad():
        vae.encoder.conv_out.weight.mul_(4)
        vae.decoder.conv_in.weight.mul_(2)
        # Latents without noise at first: drowned in noise of unit variance, nothing was learned in
        # 1,300 steps, as the decoder had found that looking at them does not pay.
        vae.quant_conv.weight[vae.config.z_dim :] = 0
        vae.quant_conv.bias[vae.config.z_dim :] = -6
    return vae


def batch(
    sizes: Sequence[tuple[int, int]], generator: torch.Generator, *, clips: int, frames: int
) -> Tensor:
    """Draw parts of *clips*, [clips, 3, frames, height, width], or of one if they are large."""
    height, width = sizes[int(torch.randint(len(sizes), (1,), generator=generator))]
    if frames > 1 and height * width > LARGE:
        clips = 1
    drawn = []
    for _ in range(clips):
        whole = LENGTHS[int(torch.randint(len(LENGTHS), (1,), generator=generator))]
        start = int(torch.randint(whole - frames + 1, (1,), generator=generator))
        drawn.append(
            render(
                random_scene(generator),
                frames=whole,
                height=height,
                width=width,
                generator=generator,
                part=slice(start, start + frames),
            )
        )
    return torch.stack(drawn)


def loss_of(vae: Any, clips: Tensor, generator: torch.Generator) -> tuple[Tensor, float]:
    """Return what to minimise, and the reconstruction's PSNR in dB."""
    with torch.autocast("cpu", torch.bfloat16, enabled=clips.shape[2] > 1):
        mean, log_variance = encode(vae, clips)
        mean, log_variance = mean.float(), log_variance.float().clamp(-12, 4)
        noise = torch.randn(mean.shape, generator=generator)
        seen = decode(vae, mean + noise * (0.5 * log_variance).exp()).float()
    distance = (mean.square() + log_variance.exp() - 1 - log_variance).mean() / 2
    error = seen - clips
    mse = error.square().mean()
    loss = error.abs().mean() + 5 * mse + KL * distance
    return loss, float(-10 * torch.log10(mse.detach() / 4))


def train(layout: str, out: Path, minutes: float, seed: int = 0) -> None:
    """Train for *minutes* in all, and write the VAE to *out*."""
    torch.manual_seed(seed)
    # Without it, the first hundred steps took ten times as long as those after them.
    torch.set_flush_denormal(True)
    vae = build(layout)
    course = Course(vae, out, minutes=minutes, rate=3e-3, seed=seed)
    generator = course.generator
    for step in course:
        early = course.done < 0.15
        # Pictures first: they are cheap, and a clip is mostly a picture that moves.
        if early and step % 8:
            clips = batch(SIZES[layout], generator, clips=8, frames=1)
        else:
            clips = batch(SIZES[layout], generator, clips=2, frames=_long(step))
        loss, quality = loss_of(vae, clips, generator)
        course.learn(loss, psnr=quality)
    finish(course.average(), layout, out)


def train_decoder(
    layout: str, finished: Path, out: Path, minutes: float, seed: int = 1, rate: float = 1e-3
) -> None:
    """Train the decoder of the VAE in *finished* at the sizes in use, and write both to *out*."""
    torch.manual_seed(seed)
    torch.set_flush_denormal(True)
    vae = AutoencoderKLWan.from_pretrained(finished, torch_dtype=torch.float32)
    # What stands between encoder and decoder may leave channels empty (`principal`).
    for part in (vae.encoder, vae.quant_conv, vae.post_quant_conv):
        part.requires_grad_(requires_grad=False)
    course = Course(vae, out, minutes=minutes, rate=rate, seed=seed, matrix_rate=rate * MATRICES)
    sizes, generator = SIZES_IN_USE[layout], course.generator
    for step in course:
        clips = batch(sizes, generator, clips=2, frames=_long(step))
        loss, quality = loss_of(vae, clips, generator)
        course.learn(loss, psnr=quality)
    course.average().half().save_pretrained(out)


def _long(step: int) -> int:
    return 17 if step % 2 else 9


@torch.inference_mode()
def samples(vae: Any, layout: str, batches: int) -> tuple[Tensor, Tensor]:
    """Return means and variances of latents of drawn clips, a latent in a row: [many, z]."""
    generator = torch.Generator().manual_seed(1)
    clips = (batch(SIZES[layout], generator, clips=8, frames=17) for _ in range(batches))
    found = [torch.stack(encode(vae, some)).movedim(2, -1).flatten(1, -2) for some in clips]
    means, log_variances = torch.cat(found, 1)
    return means, log_variances.exp()


def finish(vae: Any, layout: str, out: Path, batches: int = 12) -> None:
    """Measure the latents' mean and scale, and write the VAE in half precision."""
    latents, _ = samples(vae, layout, batches)
    scale = latents.std(0).clamp(min=0.05)
    vae.register_to_config(latents_mean=latents.mean(0).tolist(), latents_std=scale.tolist())
    vae.half().save_pretrained(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("layout", choices=LAYOUTS)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--decoder-of", type=Path, metavar="VAE", help="a finished one")
    flags = parser.parse_args()
    if flags.decoder_of:
        train_decoder(flags.layout, flags.decoder_of, flags.out, flags.minutes)
    else:
        train(flags.layout, flags.out, flags.minutes)
