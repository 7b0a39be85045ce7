"""Plans of the image endpoints: one frame, written as a picture."""

from __future__ import annotations

from dataclasses import replace

from server.media.sources import Sources
from server.planning.needs import lora_refs
from server.planning.parts import (
    SMALL,
    T2V,
    one_expert,
    prompt_spec,
    safety_spec,
    two_experts,
)
from server.schemas.groups import Generation
from server.schemas.image import (
    PRESETS,
    ImageSize,
    ImageToImageInput,
    SmallTextToImageInput,
    TextToImageInput,
    TextToImageLoraInput,
)
from wan_local.catalog import ModelSpec
from wan_local.geometry import Size, round_to, size_within
from wan_local.plan import PictureFormat, PictureSpec, SamplingSpec, StartSpec, VideoPlan

FPS = 16
"""Of a picture nobody sees it; a plan has one."""


def plan_text_to_image(wire: TextToImageInput, seed: int, _sources: Sources) -> VideoPlan:
    """Plan a text-to-image request; fal's schema has no format, and its images are JPEGs."""
    return _picture(T2V, wire, two_experts(T2V, wire, seed), wire.image_size, "jpeg")


def plan_text_to_image_lora(wire: TextToImageLoraInput, seed: int, sources: Sources) -> VideoPlan:
    """Plan a text-to-image request with LoRAs."""
    sampling = two_experts(T2V, wire, seed)
    plan = _picture(T2V, wire, sampling, wire.image_size, wire.image_format)
    return replace(plan, loras=lora_refs(wire, sources))


def plan_image_to_image(wire: ImageToImageInput, seed: int, sources: Sources) -> VideoPlan:
    """Plan an image-to-image request."""
    source = sources[wire.image_url]
    sampling = two_experts(T2V, wire, seed)
    size = wire.image_size or _shape(wire, sources)
    plan = _picture(T2V, wire, sampling, size, wire.image_format)
    return replace(plan, start=StartSpec(file=source.file, strength=wire.strength))


def plan_small_text_to_image(
    wire: SmallTextToImageInput, seed: int, _sources: Sources
) -> VideoPlan:
    """Plan a text-to-image request to the 5B model."""
    sampling = one_expert(
        seed, steps=wire.num_inference_steps, shift=wire.shift, guidance=wire.guidance_scale
    )
    return _picture(SMALL, wire, sampling, wire.image_size, wire.image_format)


def _picture(
    model: ModelSpec,
    wire: Generation,
    sampling: SamplingSpec,
    asked: ImageSize,
    format: PictureFormat,
) -> VideoPlan:
    size = Size(round_to(asked.width, model.grid), round_to(asked.height, model.grid))
    given = Size(asked.width, asked.height)
    note = f"an image of {given} is made as {size}: sides are multiples of {model.grid}"
    return VideoPlan(
        model=model.id,
        size=size,
        num_frames=1,
        fps=FPS,
        prompt=prompt_spec(wire),
        sampling=sampling,
        safety=safety_spec(wire),
        picture=PictureSpec(format=format),
        notes=() if size == given else (note,),
    )


def _shape(wire: ImageToImageInput, sources: Sources) -> ImageSize:
    """Return as many pixels as `square_hd` has, in the aspect ratio asked for or the input's."""
    width, height = PRESETS["square_hd"]
    if wire.aspect_ratio == "auto":
        shape = sources[wire.image_url].picture.size
    else:
        across, down = map(int, wire.aspect_ratio.split(":"))
        shape = Size(across, down)
    size = size_within(width * height, shape.width, shape.height, T2V.grid)
    return ImageSize(width=size.width, height=size.height)
