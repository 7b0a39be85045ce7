"""Plans of the video endpoints."""

from __future__ import annotations

from dataclasses import replace

from server.media.sources import Source, Sources
from server.planning.needs import last_frame, lora_refs
from server.planning.parts import (
    FAST,
    I2V,
    SMALL,
    T2V,
    encoding_spec,
    interpolation_spec,
    one_expert,
    prompt_spec,
    safety_spec,
    three_steps,
    turbo,
    two_experts,
)
from server.schemas.groups import Timed, Video
from server.schemas.loras import Adapted
from server.schemas.video import (
    ImageToVideoInput,
    ImageToVideoLoraInput,
    ImageToVideoTurboInput,
    SmallDistilledTextToVideoInput,
    SmallFastTextToVideoInput,
    SmallImageToVideoInput,
    SmallTextToVideoInput,
    SourceShaped,
    TextToVideoInput,
    TextToVideoTurboInput,
    VideoToVideoInput,
)
from wan_local.catalog import ModelSpec
from wan_local.geometry import Size, size_for, size_like
from wan_local.media import MediaInfo
from wan_local.plan import LoraRef, SamplingSpec, StartSpec, VideoPlan

# fal's turbo schemas have no field for the length: it is Wan's own, 81 frames at 16 a second.
TURBO_FRAMES = 81
TURBO_FPS = 16

NO_DISTILLED_MODEL = (
    "no distilled checkpoint of the 5B model is public: the model itself runs, at guidance {:g}"
)
UNGUIDED = "{} without effect: the three-step model was distilled to run without guidance"


def plan_text_to_video(wire: TextToVideoInput, seed: int, sources: Sources) -> VideoPlan:
    """Plan a text-to-video request, with or without LoRAs."""
    size = size_for(wire.resolution, wire.aspect_ratio, T2V.grid)
    plan = _timed(T2V, wire, size, two_experts(T2V, wire, seed))
    return replace(plan, loras=lora_refs(wire, sources), reverse=_reversed(wire))


def plan_text_to_video_turbo(
    wire: TextToVideoTurboInput, seed: int, _sources: Sources
) -> VideoPlan:
    """Plan a text-to-video request of four steps."""
    return _turbo(T2V, wire, size_for(wire.resolution, wire.aspect_ratio, T2V.grid), seed)


def plan_image_to_video(
    wire: ImageToVideoInput | ImageToVideoLoraInput, seed: int, sources: Sources
) -> VideoPlan:
    """Plan an image-to-video request, with or without LoRAs."""
    picture = sources[wire.image_url]
    size = size_like_source(wire, picture, I2V.grid)
    return replace(
        _timed(I2V, wire, size, two_experts(I2V, wire, seed)),
        first_frame=picture.file,
        last_frame=last_frame(wire, sources),
        loras=lora_refs(wire, sources),
        reverse=_reversed(wire),
    )


def plan_image_to_video_turbo(
    wire: ImageToVideoTurboInput, seed: int, sources: Sources
) -> VideoPlan:
    """Plan an image-to-video request of four steps."""
    picture = sources[wire.image_url]
    plan = _turbo(I2V, wire, size_like_source(wire, picture, I2V.grid), seed)
    return replace(plan, first_frame=picture.file, last_frame=last_frame(wire, sources))


def plan_video_to_video(wire: VideoToVideoInput, seed: int, sources: Sources) -> VideoPlan:
    """Plan a video-to-video request: as many frames as asked for, if the video has them."""
    video = sources[wire.video_url]
    fps = float(wire.frames_per_second) if wire.resample_fps else None
    available = frames_of(video.picture, fps)
    size = size_like_source(wire, video, T2V.grid)
    plan = _timed(T2V, wire, size, two_experts(T2V, wire, seed))
    start = StartSpec(file=video.file, strength=wire.strength, fps=fps)
    if available >= wire.num_frames:
        return replace(plan, start=start)
    note = f"the input video has {available} frames: so many are generated, of {wire.num_frames}"
    return replace(plan, start=start, num_frames=available, notes=(note,))


def plan_small_text_to_video(
    wire: SmallTextToVideoInput, seed: int, _sources: Sources
) -> VideoPlan:
    """Plan a text-to-video request to the 5B model."""
    size = size_for(wire.resolution, wire.aspect_ratio, SMALL.grid)
    return _timed(SMALL, wire, size, _small_sampling(wire, seed))


def plan_small_distilled(
    wire: SmallDistilledTextToVideoInput, seed: int, _sources: Sources
) -> VideoPlan:
    """Plan a request to the distilled 5B model, in the place of which the 5B model runs."""
    size = size_for(wire.resolution, wire.aspect_ratio, SMALL.grid)
    plan = _timed(SMALL, wire, size, _small_sampling(wire, seed))
    return replace(plan, notes=(NO_DISTILLED_MODEL.format(wire.guidance_scale),))


def plan_small_fast(wire: SmallFastTextToVideoInput, seed: int, _sources: Sources) -> VideoPlan:
    """Plan a request to the 5B model of three steps."""
    size = size_for(wire.resolution, wire.aspect_ratio, FAST.grid)
    plan = _timed(FAST, wire, size, three_steps(seed))
    idle = [name for name in ("guidance_scale", "negative_prompt") if _was_given(wire, name)]
    notes = (UNGUIDED.format(" and ".join(idle)),) if idle else ()
    return replace(plan, prompt=replace(plan.prompt, negative=""), notes=notes)


def plan_small_image_to_video(
    wire: SmallImageToVideoInput, seed: int, sources: Sources
) -> VideoPlan:
    """Plan an image-to-video request to the 5B model."""
    picture = sources[wire.image_url]
    size = size_like_source(wire, picture, SMALL.grid)
    plan = _timed(SMALL, wire, size, _small_sampling(wire, seed))
    return replace(plan, first_frame=picture.file)


def size_like_source(wire: SourceShaped, source: Source, grid: int) -> Size:
    """Return the size of what is made out of *source*: in its shape, unless another is given."""
    if wire.aspect_ratio != "auto":
        return size_for(wire.resolution, wire.aspect_ratio, grid)
    shape = source.picture.size
    return size_like(wire.resolution, shape.width, shape.height, grid)


def frames_of(video: MediaInfo, fps: float | None) -> int:
    """Return how many frames *video* has, once resampled to *fps* if that is given."""
    if fps is None or video.duration is None:
        return video.num_frames
    return max(1, round(video.duration * fps))


def _timed(model: ModelSpec, wire: Timed, size: Size, sampling: SamplingSpec) -> VideoPlan:
    return VideoPlan(
        model=model.id,
        size=size,
        num_frames=wire.num_frames,
        fps=wire.frames_per_second,
        prompt=prompt_spec(wire),
        sampling=sampling,
        encoding=encoding_spec(wire),
        interpolation=interpolation_spec(wire),
        safety=safety_spec(wire),
    )


def _turbo(model: ModelSpec, wire: Video, size: Size, seed: int) -> VideoPlan:
    return VideoPlan(
        model=model.id,
        size=size,
        num_frames=TURBO_FRAMES,
        fps=TURBO_FPS,
        prompt=prompt_spec(wire),
        sampling=turbo(model, seed),
        encoding=encoding_spec(wire),
        safety=safety_spec(wire),
        loras=(LoraRef(name=f"{model.id}-4step", target="both"),),
    )


def _small_sampling(
    wire: SmallTextToVideoInput | SmallDistilledTextToVideoInput | SmallImageToVideoInput, seed: int
) -> SamplingSpec:
    return one_expert(
        seed, steps=wire.num_inference_steps, shift=wire.shift, guidance=wire.guidance_scale
    )


def _reversed(wire: Timed) -> bool:
    return isinstance(wire, Adapted) and wire.reverse_video


def _was_given(wire: SmallFastTextToVideoInput, field: str) -> bool:
    # By its value: the stored input of a job has every field.
    return bool(getattr(wire, field) != type(wire).model_fields[field].default)
