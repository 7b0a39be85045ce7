"""How much device memory a stage computes in, beside the weights it uses.

Estimates from the tensor shapes of Wan 2.2 A14B, not measurements: they only decide what is
evicted beforehand. Too much room costs a move of weights; too little ends in `OutOfMemory`.
"""

from __future__ import annotations

from wan_local.geometry import PATCHED_STRIDE, Size

# One block at its widest: six float32 and four bfloat16 tensors of 5,120 channels, and the
# feed-forward's two bfloat16 ones of 13,824.
EXPERT_BYTES_PER_TOKEN = 6 * 5120 * 4 + 4 * 5120 * 2 + 2 * 13824 * 2

# The decoder's last blocks: 96 channels of float32 at full size, four frames at a time, in about
# eight tensors (padded and concatenated copies, the kernel's workspace), and two cached frames for
# each of its convolutions.
VAE_BYTES_PER_PIXEL = 8 * 4 * 96 * 4 + 10 * 2 * 96 * 4

# 512 tokens through UMT5-XXL.
TEXT_ENCODER_BYTES = 10**9


def expert_room(size: Size, latent_frames: int) -> int:
    """Return the bytes that one pass through an expert computes in."""
    tokens = latent_frames * (size.width // PATCHED_STRIDE) * (size.height // PATCHED_STRIDE)
    return tokens * EXPERT_BYTES_PER_TOKEN


def vae_room(size: Size) -> int:
    """Return the bytes that decoding one latent frame computes in."""
    return size.width * size.height * VAE_BYTES_PER_PIXEL
