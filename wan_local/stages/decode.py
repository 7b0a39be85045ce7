"""Latents -> pictures, as a stream."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Protocol

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d, unpatchify
from torch import Tensor, nn

from wan_local.models.tiled_decoder import TiledDecoder
from wan_local.tensors import Latents, Pictures, Pixels


class Vae(Protocol):
    """What decoding needs of diffusers' AutoencoderKLWan, which carries no types."""

    config: Any
    dtype: torch.dtype
    decoder: nn.Module
    post_quant_conv: nn.Module


@torch.inference_mode()
def decode_pictures(
    vae: Vae, latents: Latents, *, num_frames: int, tiles: int = 1
) -> Generator[Pictures, None, None]:
    """Decode one latent frame at a time: a chunk of one picture, then chunks of four.

    Stops after *num_frames*; what the last chunk has beyond that is cut off. With *tiles*, in so
    many rows and columns of pieces.
    """
    done = 0
    for pixels in decode_pixels(vae, denormalize(vae, latents), tiles=tiles):
        pictures = (pixels[0] * 0.5 + 0.5).transpose(0, 1)[: num_frames - done]
        done += len(pictures)
        yield pictures
        if done == num_frames:
            return


@torch.inference_mode()
def decode_pixels(vae: Vae, latents: Tensor, *, tiles: int = 1) -> Generator[Pixels, None, None]:
    """Yield the chunks whose concatenation is, to the bit, `vae.decode(latents).sample`.

    In *tiles*, it is that within rounding. Wan 2.1's VAE and 2.2's alike: the latter decodes to
    patches of 2×2 pixels, laid out here.
    """
    decode = TiledDecoder(vae.decoder, tiles) if tiles > 1 else WholeDecoder(vae.decoder)
    hidden = vae.post_quant_conv(latents.to(vae.dtype))
    for index in range(hidden.shape[2]):
        pixels = decode(hidden[:, :, index : index + 1], first=index == 0)
        if vae.config.patch_size is not None:
            pixels = unpatchify(pixels, vae.config.patch_size)  # type: ignore[no-untyped-call]
        yield pixels.clamp(-1, 1)


class WholeDecoder:
    """Decodes one latent frame after another, as diffusers does.

    Each convolution remembers the last two frames it saw. That memory is kept here and not on the
    module, so an abandoned stream leaves nothing behind for the next one.
    """

    def __init__(self, decoder: nn.Module) -> None:
        self._decoder = decoder
        convolutions = sum(isinstance(part, WanCausalConv3d) for part in decoder.modules())
        self._memory: list[Any] = [None] * convolutions

    def __call__(self, chunk: Tensor, *, first: bool) -> Tensor:
        """Return the pixels of *chunk*, the *first* of the video or a later one."""
        pixels: Tensor = self._decoder(
            chunk, feat_cache=self._memory, feat_idx=[0], first_chunk=first
        )
        return pixels


def denormalize(vae: Vae, latents: Latents) -> Tensor:
    """Give the latents back the mean and scale that each channel has in the VAE."""
    shape = (1, vae.config.z_dim, 1, 1, 1)
    mean = torch.tensor(vae.config.latents_mean).view(shape).to(latents)
    # Divided by the inverse, as WanPipeline does, to agree with it to the last bit.
    inverse_scale = 1.0 / torch.tensor(vae.config.latents_std).view(shape).to(latents)
    return latents / inverse_scale + mean
