"""The published I2V and 5B models, and every size of the API, without a byte of their weights.

On the meta device only shapes are computed: of the whole modules where weights are counted, of one
layer where sizes are tried.
"""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel

from tests.wan_local.models.test_full_size import EXPERT, KEPT
from tests.wan_local.plans import FAST_WAN, I2V, PICTURE, T2V, TI2V, a_plan
from wan_local.catalog import MODELS
from wan_local.geometry import latent_frames, size_for, size_like
from wan_local.models.footprint import expert_bytes
from wan_local.models.quantize import quantize
from wan_local.stages.condition import WAYS, WordsAlone
from wan_local.stages.decode import decode_pixels
from wan_local.stages.encode import encode_frames

# transformer/config.json of Wan-AI/Wan2.2-TI2V-5B-Diffusers, where it differs.
EXPERT_OF_5B = EXPERT | {
    "ffn_dim": 14336,
    "in_channels": 48,
    "num_attention_heads": 24,
    "num_layers": 30,
    "out_channels": 48,
}
EXPERTS = {
    T2V: EXPERT,
    I2V: EXPERT | {"in_channels": 36},
    TI2V: EXPERT_OF_5B,
    FAST_WAN: EXPERT_OF_5B,
}
VAE_OF_5B = {
    "base_dim": 160,
    "decoder_base_dim": 256,
    "z_dim": 48,
    "is_residual": True,
    "in_channels": 12,
    "out_channels": 12,
    "patch_size": 2,
    "scale_factor_spatial": 16,
    "latents_mean": [0.0] * 48,
    "latents_std": [1.0] * 48,
}


def on_meta(cls, config):
    with torch.device("meta"):
        return cls(**config)


@pytest.fixture(scope="module")
def layers():
    """One layer of each model's expert."""
    return {
        model: on_meta(WanTransformer3DModel, config | {"num_layers": 1})
        for model, config in EXPERTS.items()
    }


def sizes(model):
    """Every size that a request for *model* can lead to, by resolution and aspect ratio."""
    grid = MODELS[model].grid
    resolutions = ("480p", "580p", "720p")
    named = [size_for(r, a, grid) for r in resolutions for a in ("16:9", "9:16", "1:1")]
    shapes = ((4, 3), (2, 3), (21, 9), (1000, 999))
    return [*named, *(size_like(r, *shape, grid) for r in resolutions for shape in shapes)]


def finish(stream):
    while True:
        try:
            next(stream)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize(
    ("model", "billions"), [(T2V, 14.288), (I2V, 14.289), (TI2V, 5.000), (FAST_WAN, 5.000)]
)
def test_an_expert_has_the_published_number_of_weights(model, billions):
    """The row's channels are those of the published module."""
    expert = on_meta(WanTransformer3DModel, EXPERTS[model])
    spec = MODELS[model]

    assert billions == pytest.approx(sum(p.numel() for p in expert.parameters()) / 1e9, abs=6e-4)
    assert spec.input_channels == expert.config.in_channels
    assert spec.latent_channels == expert.config.out_channels
    assert spec.width == expert.blocks[0].attn1.to_q.out_features
    assert spec.feed_forward == expert.config.ffn_dim


def test_the_vae_of_5b_is_wan_2_2s():
    """705 million weights, 48 latent channels, patches of 2×2 pixels in three colours."""
    vae = on_meta(AutoencoderKLWan, VAE_OF_5B)

    assert 0.705 == pytest.approx(sum(p.numel() for p in vae.parameters()) / 1e9, abs=5e-4)
    assert MODELS[TI2V].vae_width == vae.decoder.conv_out.in_channels // 4


@pytest.mark.parametrize("model", EXPERTS)
@pytest.mark.parametrize("num_frames", [1, 80, 161])
def test_an_expert_takes_every_size_and_gives_it_back(layers, model, num_frames):
    """All aspects and resolutions, from a picture to the longest video, at full size."""
    spec = MODELS[model]
    plan = a_plan(num_frames=num_frames, first_frame=PICTURE)
    for size in sizes(model):
        height, width = size.height // spec.stride, size.width // spec.stride
        shape = (1, spec.latent_channels, latent_frames(num_frames), height, width)
        with torch.device("meta"):
            latents, condition = torch.empty(shape), WordsAlone()
            if way := WAYS.get(spec.kind):
                known = shape if spec.kind == "i2v" else (*shape[:2], 1, *shape[3:])
                condition = way.condition(torch.empty(known), plan)
            shown, levels = condition.shown(latents, torch.tensor(999))
            velocity = layers[model](shown, levels, torch.empty(1, 512, 4096), return_dict=False)

        assert shape == velocity[0].shape == condition.settled(latents).shape, size


@pytest.mark.parametrize(("model", "config"), [(T2V, {}), (TI2V, VAE_OF_5B)])
@pytest.mark.parametrize(("resolution", "aspect"), [("720p", "16:9"), ("480p", "9:16")])
def test_a_video_goes_into_latents_and_comes_out_again(model, config, resolution, aspect):
    """At full size, with the published number of layers."""
    spec, vae = MODELS[model], on_meta(AutoencoderKLWan, config)
    size = size_for(resolution, aspect, spec.grid)
    frame = torch.empty(1, 3, 1, size.height, size.width, device="meta")
    latents = finish(encode_frames(vae, [frame] * 5))
    shown = [tuple(pixels.shape) for pixels in decode_pixels(vae, latents)]

    expected = (1, spec.latent_channels, 2, size.height // spec.stride, size.width // spec.stride)
    assert expected == tuple(latents.shape)
    assert [(1, 3, n, size.height, size.width) for n in (1, 4)] == shown


@pytest.mark.parametrize(
    ("model", "quantization", "size"),
    [
        (T2V, "none", 28_635_351_168),
        (T2V, "float8", 14_594_017_408),
        (T2V, "int8", 14_594_017_408),
        (I2V, "int8", 14_594_836_608),
        (TI2V, "none", 10_021_521_792),
        (TI2V, "int8", 5_119_224_192),
    ],
)
def test_an_expert_is_as_large_as_the_estimate_says(model, quantization, size):
    """In bfloat16, as on a GPU: what is evicted and what `doctor` says depend on it."""
    expert = on_meta(WanTransformer3DModel, EXPERTS[model])
    for name, weight in expert.named_parameters():
        if not any(part in name for part in KEPT):
            weight.data = weight.data.to(torch.bfloat16)
    if quantization != "none":
        quantize(expert, quantization)

    assert size == sum(tensor.nbytes for tensor in expert.state_dict().values())
    assert abs(expert_bytes(MODELS[model], quantization) - size) < 0.005 * size
