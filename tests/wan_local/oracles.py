"""What diffusers makes of a plan, on the same small checkpoints.

Each oracle takes the weights directory, a plan and the frames that came with it ([n, h, w, 3],
float in 0..1) and returns latents. `benchmarks/equality.py` asks them too.
"""

from __future__ import annotations

from functools import cache

import torch
from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
    WanVideoToVideoPipeline,
)
from diffusers.utils.torch_utils import randn_tensor
from transformers import PreTrainedTokenizerFast, UMT5EncoderModel

from wan_local.catalog import MODELS
from wan_local.geometry import generated_frames

A_BREATH = 1 + 1e-9
"""Guidance that turns diffusers' second pass on without pushing.

One switch rules the guidance of both experts there, and it looks at the first scale only.
"""


@cache
def parts(folder):
    """Return the modules in *folder*, by component, each loaded by its own library."""
    # Given the file's own tokenizer, since it would rebuild a different one (see models/loading).
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer" / "tokenizer.json"),
        pad_token="<pad>",
        eos_token="</s>",
    )
    experts = {
        name: WanTransformer3DModel.from_pretrained(folder / name)
        for name in ("transformer", "transformer_2")
        if (folder / name).is_dir()
    }
    return {
        "tokenizer": tokenizer,
        "text_encoder": UMT5EncoderModel.from_pretrained(folder / "text_encoder"),
        "vae": AutoencoderKLWan.from_pretrained(folder / "vae"),
        **experts,
    }


def assemble(cls, weights, plan, **changes):
    """Return a pipeline of class *cls* set to *plan*'s shift and boundary."""
    spec = MODELS[plan.model]
    modules = {"transformer_2": None} | parts(weights / plan.model)
    if cls is WanVideoToVideoPipeline:
        del modules["transformer_2"]
    else:
        changes = {
            "boundary_ratio": plan.sampling.boundary,
            "expand_timesteps": spec.stride == 16,
        } | changes
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        num_train_timesteps=1000,
        flow_shift=plan.sampling.shift,
    )
    pipeline = cls(**modules | {"scheduler": scheduler} | changes)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def run(pipeline, plan, **given):
    """Call *pipeline* with the words and numbers of *plan*."""
    spec = plan.sampling
    high = spec.guidance_high
    # diffusers rounds down to 4k+1, and we round up and cut.
    arguments = {"num_frames": generated_frames(plan.num_frames)}
    if isinstance(pipeline, WanVideoToVideoPipeline):
        arguments = {}
    elif spec.boundary is not None:
        arguments["guidance_scale_2"] = spec.guidance_low
        if high == 1 and spec.guidance_low != 1:
            high = A_BREATH
    return pipeline(
        prompt=plan.prompt.text,
        negative_prompt=plan.prompt.negative,
        height=plan.size.height,
        width=plan.size.width,
        num_inference_steps=spec.steps,
        guidance_scale=high,
        generator=torch.Generator("cpu").manual_seed(spec.seed),
        output_type="latent",
        **arguments | given,
    ).frames


def text_to_video(weights, plan, _frames):
    """WanPipeline: A14B and 5B, videos and single frames."""
    return run(assemble(WanPipeline, weights, plan), plan)


def image_to_video(weights, plan, frames):
    """WanImageToVideoPipeline, with a last image if there are two."""
    first, *last = (torch.as_tensor(frame).movedim(-1, 0)[None] for frame in frames)
    given = {"image": first} | ({"last_image": last[0]} if last else {})
    return run(assemble(WanImageToVideoPipeline, weights, plan), plan, **given)


class CutSchedule(UniPCMultistepScheduler):
    """UniPC without the first *left_out* of its levels."""

    left_out = 0

    def set_timesteps(self, steps, device=None):
        super().set_timesteps(steps, device=device)
        self.timesteps = self.timesteps[self.left_out :]
        self.sigmas = self.sigmas[self.left_out :]
        self.num_inference_steps = steps - self.left_out


def two_experts_from_a_start(weights, plan, frames):
    """The recipe for A14B, which diffusers has no pipeline for: WanPipeline from mixed latents.

    The encoded input is mixed with noise at the level of the first step that is run; the levels
    before it are cut off the schedule, and WanPipeline's own loop runs the others.
    """
    pipeline = assemble(WanPipeline, weights, plan)
    steps = plan.sampling.steps
    left_out = steps - min(int(steps * plan.start.strength), steps)
    pipeline.scheduler.set_timesteps(steps)
    level = pipeline.scheduler.sigmas[left_out]
    clean = encoded(pipeline.vae, frames)
    generator = torch.Generator("cpu").manual_seed(plan.sampling.seed)
    noise = randn_tensor(clean.shape, generator=generator, dtype=torch.float32)
    pipeline.scheduler = CutSchedule.from_config(pipeline.scheduler.config)
    pipeline.scheduler.left_out = left_out
    return run(pipeline, plan, latents=(1 - level) * clean + level * noise)


def one_expert_from_a_start(weights, plan, frames):
    """WanVideoToVideoPipeline, which runs the first expert for every step."""
    pipeline = assemble(WanVideoToVideoPipeline, weights, plan)
    video = list(torch.as_tensor(frames).movedim(-1, 1))
    return run(pipeline, plan, video=video, strength=plan.start.strength)


@torch.no_grad()
def three_steps_of_dmd(weights, plan, _frames):
    """FastWan's sampling, written down a second time and without our solver."""
    pipeline = assemble(WanPipeline, weights, plan)
    embeds, _ = pipeline.encode_prompt(
        plan.prompt.text, do_classifier_free_guidance=False, max_sequence_length=512
    )
    generator = torch.Generator("cpu").manual_seed(plan.sampling.seed)
    shape = (1, 48, plan.latent_frames, plan.size.height // 16, plan.size.width // 16)
    table = [5 * t / (1000 + 4 * t) for t in range(1, 1001)]
    levels = [min(table, key=lambda level: abs(1000 * level - t)) for t in (1000, 757, 522)]
    latents = torch.randn(shape, generator=generator)
    tokens = plan.latent_frames * shape[3] * shape[4] // 4
    for number, timestep in enumerate((1000.0, 757.0, 522.0)):
        velocity = pipeline.transformer(
            latents, torch.full((1, tokens), timestep), embeds, return_dict=False
        )[0]
        latents = latents - levels[number] * velocity
        if number < 2:
            noise = torch.randn(shape, generator=generator)
            latents = (1 - levels[number + 1]) * latents + levels[number + 1] * noise
    return latents


@torch.no_grad()
def encoded(vae, frames):
    """Return *frames* at unit variance."""
    pixels = torch.as_tensor(frames, dtype=torch.float32).permute(3, 0, 1, 2)[None] * 2 - 1
    mean, std = (
        torch.tensor(values).view(1, -1, 1, 1, 1)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    return (vae.encode(pixels).latent_dist.mode() - mean) / std


@torch.no_grad()
def decoded(vae, latents):
    """Return *latents* as the pipelines show them: [1, n, h, w, 3], numpy, 0..1."""
    mean, std = (
        torch.tensor(values).view(1, -1, 1, 1, 1)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    video = vae.decode(latents * std + mean).sample
    return (video / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 4, 1).numpy()
