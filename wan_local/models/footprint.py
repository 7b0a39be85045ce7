"""How much device memory a stage computes in, beside the weights it uses.

Estimates from the tensor shapes of the published models, not measurements: they only decide what
is evicted beforehand. Too much room costs a move of weights; too little ends in `OutOfMemory`.
"""

from __future__ import annotations

from wan_local.catalog import ModelSpec, Quantization
from wan_local.geometry import Size

# 512 tokens through UMT5-XXL.
TEXT_ENCODER_BYTES = 10**9


def expert_bytes(spec: ModelSpec, quantization: Quantization = "none") -> int:
    """Return how large an expert is on a GPU, which computes in bfloat16.

    Its large matrices are counted, not its biases and norms: within 0.5 % for the published ones.
    """
    linear = spec.layers * spec.width * (8 * spec.width + 2 * spec.feed_forward)
    # A float32 for each row of eight projections, and of the feed-forward's two.
    rows = spec.layers * (9 * spec.width + spec.feed_forward)
    blocks = 2 * linear if quantization == "none" else linear + 4 * rows
    # Six modulations and the text, of 4,096 channels, in bfloat16; the time in float32.
    embedders = 2 * spec.width * (7 * spec.width + 4096) + 4 * spec.width**2
    return blocks + embedders


def expert_room(
    spec: ModelSpec, size: Size, latent_frames: int, quantization: Quantization = "none"
) -> int:
    """Return the bytes that one pass through an expert computes in.

    One block at its widest: six float32 and four bfloat16 tensors of its channels, and the
    feed-forward's two bfloat16 ones. Where each token has a timestep of its own, its modulation is
    six float32 rows more, and three copies of them. A weight of 8 bits is made whole for its turn,
    in float32 first.
    """
    whole = 0 if quantization == "none" else spec.width * spec.feed_forward * (4 + 2)
    tokens = latent_frames * (size.width // spec.grid) * (size.height // spec.grid)
    rows = 6 * 4 + 4 * 2 + (4 * 6 * 4 if spec.kind == "ti2v" else 0)
    return whole + tokens * (rows * spec.width + 2 * 2 * spec.feed_forward)


def vae_room(spec: ModelSpec, size: Size) -> int:
    """Return the bytes that decoding, or encoding, one latent frame computes in.

    The outermost blocks, of float32 at full size, four frames at a time, in about eight tensors
    (padded and concatenated copies, the kernel's workspace), and two cached frames for each of
    ten convolutions.
    """
    return size.width * size.height * spec.vae_width * 4 * (8 * 4 + 10 * 2)


def vae_tiles(spec: ModelSpec, size: Size, free: int | None) -> int:
    """Return into how many rows and columns decoding is cut to fit into *free* bytes.

    1 is whole. A tile takes its share of the room, and a margin for what its layers see around it;
    what the other tiles remember waits in the host's memory. Beyond 4×4 a tile would be mostly
    margin. Where *free* is None, the device computes in the host's memory, which pages.
    """
    needed = vae_room(spec, size)
    if free is None or needed <= free:
        return 1
    margin = 1.3
    return next((tiles for tiles in (2, 3) if needed * margin / tiles**2 <= free), 4)
