"""Checkpoints, the LoRAs that endpoints are made of, and interpolators, a table each.

To add a checkpoint of a known architecture, add a row to `MODELS`; boundary, channels and files are
its fields. To add a distilled pair of LoRAs, add one to `LORAS`. To add an interpolator, see
`wan_local/interpolation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wan_local.errors import InvalidPlan, UnknownModel
from wan_local.geometry import PATCH
from wan_local.plan import VideoPlan

Kind = Literal["t2v", "i2v", "ti2v"]
Quantization = Literal["none", "float8", "int8"]
"""How the experts' linear layers are kept: as they compute, or in 8 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One checkpoint: where it comes from and what the plan must know of it."""

    id: str
    """Also the name of its folder in the weights directory."""
    title: str
    repo: str
    """Hugging Face repository in the diffusers layout."""
    kind: Kind
    """What it makes a video of: words; a picture it is shown beside the noise; either, the picture
    standing in the place of the first latent frame."""
    boundary: float | None
    """Noise level at which the low-noise expert takes over (Wan 2.2's own configuration); None for
    a model of one expert."""
    latent_channels: int = 16
    stride: int = 8
    """Pixels a side that one latent stands for."""
    width: int = 5120
    """Channels of an expert."""
    feed_forward: int = 13824
    """Channels inside its feed-forward layers."""
    layers: int = 40
    """Its blocks."""
    vae_width: int = 96
    """Channels that the VAE's outermost blocks have for each pixel."""
    license: str
    download_gb: float | None
    """Size of the repository as published, in GB; None where nobody has said."""

    @property
    def experts(self) -> tuple[str, ...]:
        """Its transformers, as components: high noise, low noise."""
        return ("transformer",) if self.boundary is None else ("transformer", "transformer_2")

    @property
    def components(self) -> tuple[str, ...]:
        """Its heavy parts, in the order in which a plan needs them."""
        return ("text_encoder", *self.experts, "vae")

    @property
    def input_channels(self) -> int:
        """Channels an expert takes in: an image model sees a mask of 4 and the picture as well."""
        return 2 * self.latent_channels + 4 if self.kind == "i2v" else self.latent_channels

    @property
    def grid(self) -> int:
        """Pixels that a side must be a multiple of."""
        return self.stride * PATCH


MODELS = {
    model.id: model
    for model in [
        ModelSpec(
            id="wan2.2-t2v-a14b",
            title="Wan 2.2 A14B, text to video",
            repo="Wan-AI/Wan2.2-T2V-A14B-Diffusers",
            kind="t2v",
            boundary=0.875,
            license="Apache-2.0",
            download_gb=126.0,
        ),
        ModelSpec(
            id="wan2.2-i2v-a14b",
            title="Wan 2.2 A14B, image to video",
            repo="Wan-AI/Wan2.2-I2V-A14B-Diffusers",
            kind="i2v",
            boundary=0.9,
            license="Apache-2.0",
            download_gb=126.0,
        ),
        ModelSpec(
            id="wan2.2-ti2v-5b",
            title="Wan 2.2 5B, text and image to video",
            repo="Wan-AI/Wan2.2-TI2V-5B-Diffusers",
            kind="ti2v",
            boundary=None,
            latent_channels=48,
            stride=16,
            width=3072,
            feed_forward=14336,
            layers=30,
            # 256 in decoding, for each patch of 2×2 pixels.
            vae_width=64,
            license="Apache-2.0",
            download_gb=34.0,
        ),
        ModelSpec(
            id="wan2.2-ti2v-5b-fastwan",
            title="FastWan 2.2 5B, text to video in three steps",
            repo="FastVideo/FastWan2.2-TI2V-5B-FullAttn-Diffusers",
            # Distilled from the model above, and for text only.
            kind="t2v",
            boundary=None,
            latent_channels=48,
            stride=16,
            width=3072,
            feed_forward=14336,
            layers=30,
            # 256 in decoding, for each patch of 2×2 pixels.
            vae_width=64,
            license="Apache-2.0",
            download_gb=None,
        ),
    ]
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSpec:
    """A pair of LoRAs, one for each expert, that an endpoint is made of."""

    id: str
    """Also the name of its folder in `loras` in the weights directory."""
    title: str
    repo: str
    """Hugging Face repository."""
    high: str
    """File in it for the high-noise expert."""
    low: str
    """File in it for the low-noise expert."""
    license: str
    download_gb: float
    """Size of the two files as published, in GB."""


_DISTILLED = "wan2.2_{task}_A14b_{half}_noise_lora_rank64_lightx2v_4step_{date}.safetensors"

LORAS = {
    lora.id: lora
    for lora in [
        LoraSpec(
            id="wan2.2-t2v-a14b-4step",
            title="The four-step LoRA pair for Wan 2.2 A14B, text to video",
            repo="lightx2v/Wan2.2-Distill-Loras",
            high=_DISTILLED.format(task="t2v", half="high", date="1217"),
            low=_DISTILLED.format(task="t2v", half="low", date="1217"),
            license="Apache-2.0",
            download_gb=1.2,
        ),
        LoraSpec(
            id="wan2.2-i2v-a14b-4step",
            title="The four-step LoRA pair for Wan 2.2 A14B, image to video",
            repo="lightx2v/Wan2.2-Distill-Loras",
            high=_DISTILLED.format(task="i2v", half="high", date="1022"),
            low=_DISTILLED.format(task="i2v", half="low", date="1022"),
            license="Apache-2.0",
            download_gb=1.4,
        ),
    ]
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewDecoderSpec:
    """A tiny decoder that previews are drawn with where it is in the weights directory."""

    id: str
    latent_channels: int
    """Of the latents it reads."""
    license: str
    download_mb: float

    @property
    def file(self) -> str:
        """Its place in the weights directory."""
        return f"previews/{self.id}.safetensors"

    @property
    def url(self) -> str:
        """Where it is published."""
        return f"https://github.com/madebyollin/taehv/raw/main/safetensors/{self.id}.safetensors"


PREVIEW_DECODERS = {
    decoder.latent_channels: decoder
    for decoder in [
        PreviewDecoderSpec(id="taew2_1", latent_channels=16, license="MIT", download_mb=22.6),
        PreviewDecoderSpec(id="taew2_2", latent_channels=48, license="MIT", download_mb=22.9),
    ]
}
"""By the latents they read; none is needed, and without one a matrix draws the previews."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InterpolatorSpec:
    """A network that makes frames between others: any published file of it will do."""

    id: str
    """As requests and plans name it; its files lie in WEIGHTS_DIR/interpolation/ID."""
    title: str
    repo: str
    """Hugging Face repository of a safetensors file of it."""
    file: str
    """The file in the repository."""
    license: str
    download_mb: float
    bytes_per_pixel: int
    """What making one frame computes in, in float16, beside the weights (counted from shapes)."""


INTERPOLATORS = {
    interpolator.id: interpolator
    for interpolator in [
        InterpolatorSpec(
            id="rife",
            title="RIFE 4.26",
            repo="Comfy-Org/frame_interpolation",
            file="frame_interpolation/rife_v4.26.safetensors",
            license="MIT",
            download_mb=22.7,
            bytes_per_pixel=260,
        ),
        InterpolatorSpec(
            id="film",
            title="FILM",
            repo="Comfy-Org/frame_interpolation",
            file="frame_interpolation/film_net_fp16.safetensors",
            license="Apache-2.0",
            download_mb=68.9,
            bytes_per_pixel=2050,
        ),
    ]
}


def model_spec(id: str) -> ModelSpec:
    """Return the row of model *id*.

    Raises:
        UnknownModel: If there is none.
    """
    try:
        return MODELS[id]
    except KeyError:
        msg = f"unknown model {id!r}; known: {', '.join(MODELS)}"
        raise UnknownModel(msg) from None


def model_for(plan: VideoPlan) -> ModelSpec:
    """Return the row that *plan* runs on.

    Raises:
        UnknownModel: If there is none.
        InvalidPlan: If a model of this kind can never carry the plan out.
    """
    spec = model_spec(plan.model)
    if plan.size.width % spec.grid or plan.size.height % spec.grid:
        msg = f"{spec.title}: width and height must be multiples of {spec.grid}, got {plan.size}"
        raise InvalidPlan(msg)
    if (spec.boundary is None) != (plan.sampling.boundary is None):
        msg = f"{spec.title}: {len(spec.experts)} experts, and boundary {plan.sampling.boundary}"
        raise InvalidPlan(msg)
    if spec.kind == "t2v" and plan.first_frame:
        msg = f"{spec.title}: it takes no picture to begin with"
        raise InvalidPlan(msg)
    if spec.kind == "i2v" and not plan.first_frame:
        msg = f"{spec.title}: it needs a picture to begin with"
        raise InvalidPlan(msg)
    if spec.kind != "i2v" and plan.last_frame:
        msg = f"{spec.title}: it takes no picture to end with"
        raise InvalidPlan(msg)
    if plan.start and plan.first_frame:
        msg = f"{spec.title}: it takes a picture to begin with or a video to start from, not both"
        raise InvalidPlan(msg)
    return spec
