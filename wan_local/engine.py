"""One plan's whole journey, from prompt to file, on one device."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from wan_local.catalog import ModelSpec, Quantization, model_for
from wan_local.errors import BadCheckpoint, OutOfMemory
from wan_local.events import (
    ComponentLoaded,
    Event,
    Finished,
    FramesRead,
    Noted,
    Stage,
    StageStarted,
    Warned,
)
from wan_local.geometry import Size
from wan_local.inputs import Footage, FootageKey
from wan_local.interpolation.lending import is_interpolator, load_interpolator, smoother
from wan_local.models.devices import compute_dtype, device_name
from wan_local.models.footprint import TEXT_ENCODER_BYTES, expert_room, vae_room, vae_tiles
from wan_local.models.hashes import Hashes
from wan_local.models.loading import Checkpoint, load_component, open_checkpoint
from wan_local.models.loras.files import expert_shapes
from wan_local.models.loras.shelf import LoraShelf, Selection
from wan_local.models.precision import Precision
from wan_local.models.recent import Recent
from wan_local.models.residency import CudaMemory, Residency
from wan_local.plan import VideoPlan
from wan_local.record import Record, make_record, tags, to_json
from wan_local.rendering import Clip, render
from wan_local.stages.condition import WAYS, Condition, WordsAlone
from wan_local.stages.denoise import Guidance, denoise
from wan_local.stages.encode import encode_frames
from wan_local.stages.expand import ExpansionCache
from wan_local.stages.latents import initial_latents, noised
from wan_local.stages.preview import WatchedSolver, open_decoder, with_previews
from wan_local.stages.prompt import MAX_TOKENS, TokenIds, encode_prompt, tokenize
from wan_local.stages.schedule import Leg, Solver, schedule, split_by_expert
from wan_local.tensors import Latents, PromptEmbeds
from wan_local.vetting import is_companion, load_companion, output_check, vetted

ENCODED_KEPT = 8  # pictures and videos; one of 81 frames at 1280×720 is 19 MB

log = logging.getLogger(__name__)


def open_engine(weights_dir: Path, device: str, quantization: Quantization = "none") -> Engine:
    """Return an engine for *device* (`cpu`, `cuda:0`); weights are loaded by the first plan.

    Raises:
        WanLocalError: If this machine has no such device.
    """
    return Engine(weights_dir, torch.device(device), device_name(device), quantization)


class Engine:
    """Carries out plans on one device, one at a time."""

    device_name: str
    """`cpu`, or the GPU's name."""

    def __init__(
        self,
        weights_dir: Path,
        device: torch.device,
        device_name: str,
        quantization: Quantization = "none",
    ) -> None:
        self.device_name = device_name
        self._precision = Precision(compute_dtype(device), quantization)
        self._weights_dir = weights_dir
        self._device = device
        memory = CudaMemory(device) if device.type == "cuda" else None
        self._models = Residency(self._load, device, memory)
        self._checkpoints: dict[str, Checkpoint] = {}
        self._hashes = Hashes()
        self._forget()

    @property
    def held(self) -> frozenset[str]:
        """Components in use at this moment; empty between plans."""
        return self._models.held

    def run(self, plan: VideoPlan, output: Path) -> Generator[Event, None, None]:
        """Carry *plan* from prompt to file, saying what happens on the way.

        Closing the generator cancels the run: the component in use is released and ffmpeg is
        killed as the blocks unwind, and no file is left.

        Raises:
            WeightsMissing: If the plan's checkpoint is not on this machine.
            BadCheckpoint: If its files are not what the catalog says.
            LoraRefused: If a LoRA cannot be applied to it.
            InvalidPlan: If the plan's model can never carry it out.
            BadMedia: If a picture or video that came with the request cannot be read.
            ContentRefused: If a checker that the plan asks for flags its input or output.
            OutOfMemory: If a stage does not fit on the device.
            EncodingFailed: If ffmpeg refuses the frames.
        """
        clock = Stopwatch(self._device)
        try:
            plan = yield from vetted(plan, self._models, self._expansions, clock.start)
            latents = yield from self.sample(plan, clock)

            yield clock.start(Stage.DECODE)
            record = yield from self._record(plan)
            clip = yield from self._render(plan, latents, output, tags(record, plan))
        except torch.OutOfMemoryError as error:
            raise _out_of_memory(error, clock.stage, plan, self._device) from error
        yield Finished(
            path=str(output),
            size=clip.size,
            num_frames=clip.num_frames,
            fps=clip.fps,
            seed=plan.sampling.seed,
            timings=clock.stop(),
            prompt=plan.prompt.text,
            record=to_json(record) if plan.record else "",
        )

    def sample(self, plan: VideoPlan, clock: Stopwatch) -> Generator[Event, None, Latents]:
        """Carry *plan* as far as its latents, which it returns."""
        spec, checkpoint = model_for(plan), self._checkpoint(plan.model)
        first = plan.sampling.steps - plan.steps_run
        solver = schedule(plan.sampling, checkpoint.scheduler, first=first)
        legs = split_by_expert(solver.timesteps[first:], plan.sampling)

        # Of two experts, a start of low strength needs the second alone.
        parts = ("text_encoder", *(leg.expert for leg in legs), "vae")
        missing = [part for part in parts if f"{plan.model}/{part}" not in self._models.loaded]
        if missing or plan.loras:
            yield clock.start(Stage.LOAD)
        for number, part in enumerate(missing, 1):
            self._models.load(f"{plan.model}/{part}")
            # An expert takes seconds to load: a cancel is heard after each component.
            yield ComponentLoaded(part, number, len(missing))

        loras = self._take_loras(plan, checkpoint)
        for note in (str(self._precision), *plan.notes, *loras.notes):
            yield Noted(note)

        size = checkpoint.small.size_for(plan.size, spec.grid) if checkpoint.small else plan.size
        texts = [
            tokenize(checkpoint.tokenizer, t) for t in (plan.prompt.text, plan.prompt.negative)
        ]
        for sentence in [*_deviations(plan, checkpoint, size, texts), *loras.warnings]:
            yield Warned(sentence)

        yield clock.start(Stage.PROMPT)
        guided = any(leg.guidance != 1 for leg in legs)
        embeds = self._embed(plan.model, texts if guided else texts[:1])

        if plan.first_frame or plan.start:
            yield clock.start(Stage.CONDITION)
        level = solver.sigmas[first]
        latents, condition = yield from self._begin(plan, size, level)

        yield clock.start(Stage.DENOISE)
        guidance = Guidance(embeds[0], embeds[-1] if guided else None, 1.0, condition)
        if not plan.preview_every:
            steps = self._denoise(plan, latents, guidance, loras, legs=legs, solver=solver)
        else:
            watched = WatchedSolver(solver)
            steps = self._denoise(plan, latents, guidance, loras, legs=legs, solver=watched)
            steps = self._with_previews(plan, steps, watched)
        return condition.settled((yield from steps))

    def close(self) -> None:
        """Give all memory back."""
        self._models.close()
        self._checkpoints.clear()
        self._forget()

    def _embed(self, model: str, texts: Sequence[TokenIds]) -> list[PromptEmbeds]:
        unknown = [text for text in dict.fromkeys(texts) if (model, text) not in self._embeds]
        if unknown:
            with self._models.hold(f"{model}/text_encoder", room=TEXT_ENCODER_BYTES) as encoder:
                for text in unknown:
                    embeds = encode_prompt(encoder, text, device=self._device)
                    self._embeds[model, text] = embeds
        return [self._embeds[model, text] for text in texts]

    def _begin(
        self, plan: VideoPlan, size: Size, level: Tensor
    ) -> Generator[Event, None, tuple[Latents, Condition]]:
        """Return where denoising starts, and what the experts are shown beside it."""
        spec = model_for(plan)
        noise = initial_latents(spec, size, plan.latent_frames, seed=plan.sampling.seed)
        noise = noise.to(self._device)
        if plan.start:
            return noised((yield from self._encode(plan, size)), noise, level), WordsAlone()
        if plan.first_frame:
            encoded = yield from self._encode(plan, size)
            return noise, WAYS[spec.kind].condition(encoded, plan)
        return noise, WordsAlone()

    def _encode(self, plan: VideoPlan, size: Size) -> Generator[FramesRead | Warned, None, Latents]:
        footage = Footage(plan, size)
        if footage.key in self._encoded:
            return self._encoded[footage.key].to(self._device)
        with self._models.hold(f"{plan.model}/vae", room=vae_room(model_for(plan), size)) as vae:
            latents = yield from encode_frames(vae, footage)
        if footage.missing:
            # And not remembered, so that it is said again the next time.
            yield Warned(
                f"the video has {footage.missing} frames too few: its last one is held for them"
            )
        else:
            self._encoded[footage.key] = latents.cpu()
        return latents

    def _denoise(
        self,
        plan: VideoPlan,
        latents: Latents,
        guidance: Guidance,
        loras: Selection,
        *,
        legs: list[Leg],
        solver: Solver | WatchedSolver,
    ) -> Generator[Event, None, Latents]:
        spec = model_for(plan)
        size = _size_of(latents, spec)
        room = expert_room(spec, size, plan.latent_frames, self._precision.quantization)
        for leg in legs:
            name = f"{plan.model}/{leg.expert}"
            with (
                self._models.hold(name, room=room) as transformer,
                loras.applied(transformer, leg.expert, self._models.originals(name)),
            ):
                latents = yield from denoise(
                    transformer,
                    latents,
                    replace(guidance, scale=leg.guidance),
                    timesteps=leg.timesteps,
                    solver=solver,
                    first_step=leg.first_step,
                    total_steps=plan.steps_run,
                )
        return latents

    def _with_previews(
        self, plan: VideoPlan, steps: Generator[Event, None, Latents], solver: WatchedSolver
    ) -> Generator[Event, None, Latents]:
        decoder = None
        try:
            channels = model_for(plan).latent_channels
            decoder = open_decoder(self._weights_dir, channels, self._device)
        except BadCheckpoint as error:
            yield Warned(f"previews are drawn without their decoder: {error}")
        return (yield from with_previews(steps, solver, decoder, every=plan.preview_every))

    def _record(self, plan: VideoPlan) -> Generator[Event, None, Record]:
        """Look the weights' hashes up; only a file that nobody has hashed yet takes a while."""
        if plan.record is None:
            return {}
        folder, hashes = self._checkpoint(plan.model).folder, {}
        for part in model_for(plan).components:
            if not self._hashes.known(folder / part):
                yield Noted(f"the weights of {part} are hashed, once, for the video's metadata")
            hashes[part] = self._hashes.of(folder / part)
        return make_record(plan, hashes, self.device_name, self._precision.record)

    def _render(
        self, plan: VideoPlan, latents: Latents, output: Path, metadata: Mapping[str, str]
    ) -> Generator[Event, None, Clip]:
        spec = model_for(plan)
        size = _size_of(latents, spec)
        with (
            self._models.hold(f"{plan.model}/vae", room=vae_room(spec, size)) as vae,
            smoother(plan.interpolation, size, self._models) as smoothing,
            output_check(plan, self._models) as check,
        ):
            # What could be evicted is: if the room is still too small, the frame is cut to fit.
            tiles = vae_tiles(spec, size, self._models.free)
            clip = yield from render(
                vae,
                latents,
                plan,
                output,
                tiles=tiles,
                smoothing=smoothing,
                check=check,
                metadata=metadata,
            )
            if smoothing is not None and smoothing.shortage is not None:
                yield Warned(smoothing.shortage)
            return clip

    def _take_loras(self, plan: VideoPlan, checkpoint: Checkpoint) -> Selection:
        if not plan.loras:
            return Selection()
        return self._shelf.take(plan.loras, plan.model, expert_shapes(checkpoint.folder))

    def _checkpoint(self, model: str) -> Checkpoint:
        if model not in self._checkpoints:
            self._checkpoints[model] = open_checkpoint(self._weights_dir, model)
        return self._checkpoints[model]

    def _forget(self) -> None:
        # One entry of UMT5-XXL is 4 MiB. The negative prompt is nearly always the same, and
        # encoding it again would be half of that stage, or a whole move of an 11 GB encoder.
        self._embeds: Recent[tuple[str, TokenIds], PromptEmbeds] = Recent(64)
        self._encoded: Recent[FootageKey, Latents] = Recent(ENCODED_KEPT)
        self._shelf = LoraShelf(self._weights_dir)
        self._expansions = ExpansionCache()

    def _load(self, name: str) -> nn.Module:
        dtype = self._precision.dtype
        if is_companion(name):
            return load_companion(name, dtype)
        if is_interpolator(name):
            return load_interpolator(name, self._weights_dir, self._device)
        model, component = name.split("/")
        folder = self._checkpoint(model).folder
        return load_component(folder, component, dtype, self._precision.quantization)


class Stopwatch:
    """Seconds that one run spent in each stage."""

    def __init__(self, device: torch.device) -> None:
        self.stage: Stage | None = None
        self._device = device
        self._started = 0.0
        self._timings: dict[str, float] = {}

    def start(self, stage: Stage) -> StageStarted:
        """End the stage before and begin *stage*."""
        self.stop()
        self.stage, self._started = stage, time.perf_counter()
        log.info("stage %s", stage)
        return StageStarted(stage)

    def stop(self) -> dict[str, float]:
        """End the current stage and return all timings."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # or a stage's work is counted to the next one
        if self.stage is not None:
            self._timings[self.stage.value] = round(time.perf_counter() - self._started, 3)
        return dict(self._timings)


def _size_of(latents: Latents, spec: ModelSpec) -> Size:
    return Size(latents.shape[4] * spec.stride, latents.shape[3] * spec.stride)


def _deviations(
    plan: VideoPlan, checkpoint: Checkpoint, size: Size, texts: Sequence[TokenIds]
) -> list[str]:
    """Return a sentence for each way in which the video will not be as asked."""
    sentences = []
    if checkpoint.small and size != plan.size:
        title = checkpoint.small.title
        sentences.append(f"{title} is a small test checkpoint: {plan.size} is generated at {size}")
    elif checkpoint.small:
        sentences.append(f"{checkpoint.small.title} is a small test checkpoint, not Wan 2.2")
    for name, text in zip(("prompt", "negative prompt"), texts, strict=True):
        if text.full_length > MAX_TOKENS:
            sentences.append(
                f"the {name} has {text.full_length} tokens and the model reads {MAX_TOKENS}: "
                "the rest was cut off"
            )
    return sentences


def _out_of_memory(
    error: torch.OutOfMemoryError, stage: Stage | None, plan: VideoPlan, device: torch.device
) -> OutOfMemory:
    requested = re.search(r"[Tt]ried to allocate ([\d.]+ \w+)", str(error))
    needed = requested.group(1) if requested else "more memory"
    free = ""
    if device.type == "cuda":
        left, total = torch.cuda.mem_get_info(device)
        free = f", of whose {total / 2**30:.1f} GiB {left / 2**30:.1f} were free"
    return OutOfMemory(
        f"stage {stage} of {plan.num_frames} frames at {plan.size} asked for {needed} on {device}"
        f"{free}; fewer frames or a lower resolution need less"
    )
