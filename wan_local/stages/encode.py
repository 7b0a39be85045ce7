"""Frames -> latents, as a stream: the way back from `stages.decode`."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from typing import Any, Protocol

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d, patchify
from torch import Tensor, nn

from wan_local.events import FramesRead
from wan_local.geometry import TEMPORAL_STRIDE
from wan_local.tensors import Latents, Pixels


class Vae(Protocol):
    """What encoding needs of diffusers' AutoencoderKLWan, which carries no types."""

    config: Any
    dtype: torch.dtype
    device: torch.device
    encoder: nn.Module
    quant_conv: nn.Module


@torch.inference_mode()
def encode_frames(vae: Vae, frames: Iterable[Pixels]) -> Generator[FramesRead, None, Latents]:
    """Encode 4k+1 frames that come one by one; only four of them are on the device at a time.

    The most likely latents, not drawn ones: the same frames are the same latents every time. Equal,
    to the bit, to `vae.encode(...).latent_dist.mode()` at unit variance.

    Yields:
        One FramesRead a chunk, so that the caller can report progress or stop.

    Returns:
        The latents, on the VAE's device.
    """
    convolutions = sum(isinstance(part, WanCausalConv3d) for part in vae.encoder.modules())
    # Here and not on the module, so that an abandoned stream leaves nothing behind for the next.
    memory: list[Any] = [None] * convolutions
    hidden, done = [], 0
    for chunk in _chunks(iter(frames)):
        pixels = chunk.to(vae.device, vae.dtype)
        if vae.config.patch_size is not None:
            pixels = patchify(pixels, vae.config.patch_size)  # type: ignore[no-untyped-call]
        hidden.append(vae.encoder(pixels, feat_cache=memory, feat_idx=[0]))
        done += chunk.shape[2]
        yield FramesRead(done)
    mean: Tensor = vae.quant_conv(torch.cat(hidden, dim=2)).chunk(2, dim=1)[0]
    return normalize(vae, mean.float())


def normalize(vae: Vae, latents: Tensor) -> Latents:
    """Bring the latents, as the VAE makes them, to the unit variance that the experts work at."""
    shape = (1, vae.config.z_dim, 1, 1, 1)
    mean = torch.tensor(vae.config.latents_mean).view(shape).to(latents)
    # Multiplied by the inverse, as the pipelines do, to agree with them to the last bit.
    inverse_scale = 1.0 / torch.tensor(vae.config.latents_std).view(shape).to(latents)
    return (latents - mean) * inverse_scale


def _chunks(frames: Iterator[Pixels]) -> Iterator[Pixels]:
    """Group single frames as the causal encoder takes them: one, then four at a time."""
    length = 1
    while chunk := list(islice(frames, length)):
        yield torch.cat(chunk, dim=2)
        length = TEMPORAL_STRIDE
