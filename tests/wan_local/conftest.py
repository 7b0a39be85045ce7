"""The oracle: diffusers' own pipeline on the same small checkpoint."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline
from transformers import PreTrainedTokenizerFast

from tests.wan_local.plans import T2V
from wan_local.engine import Stopwatch, open_engine
from wan_local.models.loading import load_component, open_checkpoint
from wan_local.stages.prompt import encode_prompt, tokenize


@pytest.fixture(scope="session")
def engine(weights):
    """An engine on the CPU, its weights loaded by whoever comes first."""
    engine = open_engine(weights, "cpu")
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def vae(weights):
    return load_component(weights / T2V, "vae", torch.float32)


@pytest.fixture(scope="session")
def vae_22():
    """A thin VAE of Wan 2.2 5B: random weights in the published architecture."""
    torch.manual_seed(0)
    return AutoencoderKLWan(
        base_dim=4,
        decoder_base_dim=8,
        z_dim=48,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=2,
        temperal_downsample=[False, True, True],
        in_channels=12,
        out_channels=12,
        is_residual=True,
        patch_size=2,
        scale_factor_spatial=16,
        latents_mean=[0.0] * 48,
        latents_std=[1.0] * 48,
    ).eval()


@pytest.fixture(scope="session")
def pipeline(weights):
    folder = weights / T2V
    # Given the file's own tokenizer, since it would rebuild a different one (see models/loading).
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer" / "tokenizer.json"),
        pad_token="<pad>",
        eos_token="</s>",
    )
    pipeline = WanPipeline.from_pretrained(folder, tokenizer=tokenizer, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def our_embeds(weights):
    """Return our own text encoding: text -> embeddings."""
    tokenizer = open_checkpoint(weights, T2V).tokenizer
    encoder = load_component(weights / T2V, "text_encoder", torch.float32)
    return lambda text: encode_prompt(
        encoder, tokenize(tokenizer, text), device=torch.device("cpu")
    )


@pytest.fixture
def oracle(pipeline):
    """Return a function that carries a plan out with WanPipeline.

    `oracle(plan)` is its latents, `oracle(plan, "np")` its frames; with *embeds*, the prompts are
    encoded by that function and not by the pipeline.
    """

    def run(plan, output_type="latent", embeds=None):
        spec = plan.sampling
        pipeline.scheduler = UniPCMultistepScheduler.from_config(
            pipeline.scheduler.config, flow_shift=spec.shift
        )
        pipeline.register_to_config(boundary_ratio=spec.boundary)
        # One switch rules the guidance of both experts, and it looks at the first scale only: a
        # breath above 1 turns the second pass on without pushing.
        high = spec.guidance_high
        if high == 1 and spec.guidance_low != 1:
            high = 1 + 1e-9
        prompts = {"prompt": plan.prompt.text, "negative_prompt": plan.prompt.negative}
        if embeds:
            prompts = {f"{name}_embeds": embeds(text) for name, text in prompts.items()}
        return pipeline(
            **prompts,
            height=plan.size.height,
            width=plan.size.width,
            num_frames=plan.num_frames,
            num_inference_steps=spec.steps,
            guidance_scale=high,
            guidance_scale_2=spec.guidance_low,
            generator=torch.Generator("cpu").manual_seed(spec.seed),
            output_type=output_type,
        ).frames

    return run


@pytest.fixture
def our_latents(engine):
    """Return a function that carries a plan as far as its latents."""

    def run(plan):
        journey = engine.sample(plan, Stopwatch(torch.device("cpu")))
        while True:
            try:
                next(journey)
            except StopIteration as end:
                return end.value

    return run
