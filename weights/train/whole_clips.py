"""The Wan VAE over a whole clip at once, for training.

diffusers runs the VAE chunk by chunk with a cache, which keeps memory constant and gradients out
of reach. Here the same layers see all frames together: a causal convolution of three frames is a
plain 2D one over three shifted copies, which is also what a CPU is fastest at. The numbers are
those of `vae.encode` and `vae.decode` (`tests/weights/train/test_whole_clips.py`), for Wan 2.1's
layout and for Wan 2.2's residual one.

Tensors travel as [clips × frames, channels, height, width] in channels-last memory.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import patchify, unpatchify
from torch import Tensor
from torch.nn.functional import interpolate, pad, scaled_dot_product_attention, silu

LAST = torch.channels_last


def encode(vae: Any, clips: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and log variance of the latents of *clips*.

    Args:
        vae: diffusers' AutoencoderKLWan.
        clips: [clips, 3, 4k+1, height, width] in -1..1.

    Returns:
        Two of [clips, z, 1+k, height / stride, width / stride].
    """
    encoder = vae.encoder
    if vae.config.patch_size:
        clips = patchify(clips, vae.config.patch_size)
    frames = clips.shape[2]
    x = clips.transpose(1, 2).flatten(0, 1).contiguous(memory_format=LAST)
    x = _convolve(encoder.conv_in, x, frames)
    for block in encoder.down_blocks:
        x, frames = _down_block(block, x, frames)
    x = _middle(encoder.mid_block, x, frames)
    x = _convolve(encoder.conv_out, silu(_normalize(encoder.norm_out, x)), frames)
    x = _convolve(vae.quant_conv, x, frames).unflatten(0, (-1, frames)).transpose(1, 2)
    mean, log_variance = x.chunk(2, 1)
    return mean, log_variance


def decode(vae: Any, latents: Tensor) -> Tensor:
    """Return the clips of *latents*, not clamped: the inverse of `encode`."""
    decoder, frames = vae.decoder, latents.shape[2]
    x = latents.transpose(1, 2).flatten(0, 1).contiguous(memory_format=LAST)
    x = _convolve(vae.post_quant_conv, x, frames)
    x = _middle(decoder.mid_block, _convolve(decoder.conv_in, x, frames), frames)
    for block in decoder.up_blocks:
        x, frames = _up_block(block, x, frames)
    x = _convolve(decoder.conv_out, silu(_normalize(decoder.norm_out, x)), frames)
    clips = x.unflatten(0, (-1, frames)).transpose(1, 2)
    return unpatchify(clips, vae.config.patch_size) if vae.config.patch_size else clips


def _convolve(layer: Any, x: Tensor, frames: int) -> Tensor:
    """Run a causal convolution of one or three frames."""
    weight, depth = layer.weight, layer.kernel_size[0]
    margin = layer.kernel_size[1] // 2
    if depth == 1 or frames == 1:
        # Of a single frame, the earlier two are zeros.
        return torch.conv2d(x, weight[:, :, -1], layer.bias, padding=margin)
    taps = weight.permute(0, 2, 1, 3, 4).flatten(1, 2)
    return torch.conv2d(_with_past(x, frames), taps, layer.bias, padding=margin)


def _with_past(x: Tensor, frames: int) -> Tensor:
    """Return each frame behind the two before it, as channels: [.., 3 × channels, ..]."""
    now = x.permute(0, 2, 3, 1).unflatten(0, (-1, frames))
    zeros = torch.zeros_like(now[:, :1])
    once = torch.cat([zeros, now[:, :-1]], 1)
    twice = torch.cat([zeros, once[:, :-1]], 1)
    return torch.cat([twice, once, now], -1).flatten(0, 1).permute(0, 3, 1, 2)


def _normalize(layer: Any, x: Tensor) -> Tensor:
    scale = torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-10)
    return x * scale * layer.gamma.view(1, -1, 1, 1).to(x.dtype)


def _residual(block: Any, x: Tensor, frames: int) -> Tensor:
    kept = x if isinstance(block.conv_shortcut, torch.nn.Identity) else None
    if kept is None:
        kept = _convolve(block.conv_shortcut, x, frames)
    x = _convolve(block.conv1, silu(_normalize(block.norm1, x)), frames)
    return kept + _convolve(block.conv2, silu(_normalize(block.norm2, x)), frames)


def _attend(block: Any, x: Tensor) -> Tensor:
    qkv = block.to_qkv(_normalize(block.norm, x)).flatten(2).transpose(1, 2).unsqueeze(1)
    seen = scaled_dot_product_attention(*qkv.chunk(3, -1))
    return x + block.proj(seen.squeeze(1).transpose(1, 2).reshape(x.shape))


def _middle(block: Any, x: Tensor, frames: int) -> Tensor:
    x = _residual(block.resnets[0], x, frames)
    return _residual(block.resnets[1], _attend(block.attentions[0], x), frames)


def _down_block(block: Any, x: Tensor, frames: int) -> tuple[Tensor, int]:
    if hasattr(block, "mode"):
        return _downsample(block, x, frames)
    if not hasattr(block, "avg_shortcut"):
        return _residual(block, x, frames), frames
    y, before = x, frames
    for resnet in block.resnets:
        y = _residual(resnet, y, frames)
    if block.downsampler is not None:
        y, frames = _downsample(block.downsampler, y, frames)
    shortcut = block.avg_shortcut(x.unflatten(0, (-1, before)).transpose(1, 2))
    return y + shortcut.transpose(1, 2).flatten(0, 1), frames


def _up_block(block: Any, x: Tensor, frames: int) -> tuple[Tensor, int]:
    y, before = x, frames
    for resnet in block.resnets:
        y = _residual(resnet, y, frames)
    upsampler = block.upsampler if hasattr(block, "upsampler") else None
    if getattr(block, "upsamplers", None) is not None:
        upsampler = block.upsamplers[0]
    if upsampler is not None:
        y, frames = _upsample(upsampler, y, frames)
    if getattr(block, "avg_shortcut", None) is None:
        return y, frames
    copies = block.avg_shortcut(x.unflatten(0, (-1, before)).transpose(1, 2), first_chunk=True)
    return y + copies.transpose(1, 2).flatten(0, 1), frames


def _downsample(layer: Any, x: Tensor, frames: int) -> tuple[Tensor, int]:
    x = layer.resample[1](pad(x, (0, 1, 0, 1)))
    if layer.mode != "downsample3d" or frames == 1:
        return x, frames
    # The first frame stays alone; each later pair is seen together with the frame before it.
    x = x.permute(0, 2, 3, 1).unflatten(0, (-1, frames))
    threes = torch.cat([x[:, 0:-2:2], x[:, 1:-1:2], x[:, 2::2]], -1)
    taps = layer.time_conv.weight.permute(0, 2, 1, 3, 4).flatten(1, 2)
    pairs = torch.conv2d(threes.flatten(0, 1).permute(0, 3, 1, 2), taps, layer.time_conv.bias)
    pairs = pairs.permute(0, 2, 3, 1).unflatten(0, (-1, threes.shape[1]))
    joined = torch.cat([x[:, :1], pairs], 1)
    return joined.flatten(0, 1).permute(0, 3, 1, 2), joined.shape[1]


def _upsample(layer: Any, x: Tensor, frames: int) -> tuple[Tensor, int]:
    if layer.mode == "upsample3d" and frames > 1:
        # The first frame stays alone and is no past to the others; each of them becomes two.
        channels = x.shape[1]
        x = x.unflatten(0, (-1, frames))
        rest = x[:, 1:].flatten(0, 1).contiguous(memory_format=LAST)
        rest = _convolve(layer.time_conv, rest, frames - 1)
        twos = rest.unflatten(1, (2, channels)).unflatten(0, (-1, frames - 1)).flatten(1, 2)
        x = torch.cat([x[:, :1], twos], 1)
        frames = x.shape[1]
        x = x.flatten(0, 1)
    x = interpolate(x.contiguous(memory_format=LAST), scale_factor=2.0, mode="nearest-exact")
    return layer.resample[1](x), frames
