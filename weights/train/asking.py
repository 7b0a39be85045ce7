"""Asks the engine for clips of trained checkpoints, as the endpoints do, and hands over pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from wan_local.catalog import MODELS
from wan_local.engine import Engine, Stopwatch, open_engine
from wan_local.geometry import Size
from wan_local.models.loading import load_component
from wan_local.plan import LoraRef, PromptSpec, SamplingSpec, SourceFile, VideoPlan
from wan_local.stages.decode import decode_pixels, denormalize
from weights.train.assemble import SIZES_OF_5B, SIZES_OF_A14B
from weights.train.clips import Scene, random_scene, render
from weights.train.corpus import held_out

T2V, I2V, TI2V = "wan2.2-t2v-a14b", "wan2.2-i2v-a14b", "wan2.2-ti2v-5b"
STEPS = 20
GUIDANCE = {T2V: (3.5, 4.0), I2V: (3.5, 3.5), TI2V: (3.5, 3.5)}
SIZES = {
    T2V: Size(*SIZES_OF_A14B["1280x720"]),
    I2V: Size(*SIZES_OF_A14B["1280x720"]),
    TI2V: Size(*SIZES_OF_5B["1280x704"]),
}
"""What a request for 720p gets."""
TURBO: dict[str, Any] = {
    "steps": 4,
    "solver": "euler",
    "guidance_high": 1.0,
    "guidance_low": 1.0,
}
"""As the turbo endpoints sample, beside the pair of LoRAs."""
FPS = 16


def scenes(number: int, seed: int = 20260) -> Iterator[Scene]:
    """Yield *number* scenes that were held out of training."""
    generator = torch.Generator().manual_seed(seed)
    while number:
        scene = random_scene(generator)
        if held_out(scene):
            number -= 1
            yield scene


def said(scene: Scene) -> PromptSpec:
    """Return the prompt that asks for *scene*."""
    return PromptSpec(text=scene.caption)


def drawn(scene: Scene, model: str, frames: int, seed: int = 0) -> Tensor:
    """Return *scene* as it is drawn, of *model*'s size, [3, frames, height, width] in 0..1."""
    generator = torch.Generator().manual_seed(seed)
    height, width = SIZES[model].height, SIZES[model].width
    clip = render(scene, frames=frames, height=height, width=width, generator=generator)
    return (clip + 1) / 2


def true_clips(model: str, clips: int, frames: int) -> Iterator[tuple[Scene, Tensor]]:
    """Yield held-out scenes as they are drawn, [3, frames, height, width] in 0..1."""
    for number, scene in enumerate(scenes(clips, seed=7)):
        yield scene, drawn(scene, model, frames, number)


def the_pair(model: str) -> tuple[LoraRef, ...]:
    """Return the four-step LoRAs of *model*."""
    return (LoraRef(name=f"{model}-4step", target="both"),)


def a_plan(model: str, prompt: PromptSpec, seed: int, frames: int, **changes: Any) -> VideoPlan:
    """Return a plan of *frames* in twenty guided steps; *changes* are of it or of its sampling."""
    high, low = GUIDANCE[model]
    usual: dict[str, Any] = {
        "seed": seed,
        "steps": STEPS,
        "shift": 5.0,
        "boundary": MODELS[model].boundary,
        "guidance_high": high,
        "guidance_low": low,
    }
    sampling = {n: changes.pop(n) for n in list(changes) if n in SamplingSpec.__slots__}
    return VideoPlan(
        model=model,
        size=SIZES[model],
        num_frames=frames,
        fps=FPS,
        prompt=prompt,
        sampling=SamplingSpec(**usual | sampling),
        **changes,
    )


@dataclass
class Studio:
    """A weights directory, an engine that runs on it, and a folder for what requests bring."""

    weights: Path
    folder: Path
    engine: Engine = field(init=False)
    _vaes: dict[str, nn.Module] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.engine = open_engine(self.weights, "cpu")

    def vae(self, model: str) -> Any:
        """Return the VAE of *model*."""
        if model not in self._vaes:
            self._vaes[model] = load_component(self.weights / model, "vae", torch.float32)
        return self._vaes[model]

    def latents(self, plan: VideoPlan) -> Tensor:
        """Carry *plan* as far as its latents."""
        found: Tensor = carried_out(self.engine.sample(plan, Stopwatch(torch.device("cpu"))))
        return found

    def clip(self, plan: VideoPlan) -> Tensor:
        """Return what *plan* shows, [3, frames, height, width] in 0..1."""
        return self.pixels(plan.model, self.latents(plan))

    def pixels(self, model: str, latents: Tensor) -> Tensor:
        """Return what *latents* show."""
        vae = self.vae(model)
        clip = torch.cat(list(decode_pixels(vae, denormalize(vae, latents))), 2)[0]
        return (clip + 1) / 2

    def picture(self, frame: Tensor) -> SourceFile:
        """Write [3, height, width] in 0..1 as a file that a request can bring."""
        path = self.folder / f"{next(self._numbers)}.png"
        Image.fromarray(_levels(frame[:, None])[0]).save(path)
        return source(path)

    def video(self, clip: Tensor) -> SourceFile:
        """Write [3, frames, height, width] in 0..1 as a file without loss."""
        path = self.folder / f"{next(self._numbers)}.mov"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("png", rate=FPS)
            stream.height, stream.width = clip.shape[2:]
            stream.pix_fmt, stream.codec_context.time_base = "rgb24", Fraction(1, FPS)
            for number, levels in enumerate(_levels(clip)):
                frame = av.VideoFrame.from_ndarray(levels, "rgb24")
                frame.pts, frame.time_base = number, Fraction(1, FPS)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return source(path)


def source(path: Path) -> SourceFile:
    """Return the file at *path* as requests bring it, known by its hash."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return SourceFile(path=str(path.absolute()), sha256=digest)


def swapped(weights: Path, folder: Path) -> Path:
    """Return a weights directory whose T2V experts have changed places; its files are links."""
    other = folder / "swapped" / T2V
    other.mkdir(parents=True)
    places = {"transformer": "transformer_2", "transformer_2": "transformer"}
    for part in (weights / T2V).iterdir():
        (other / places.get(part.name, part.name)).symlink_to(part.absolute())
    return other.parent


def carried_out(journey: Any) -> Any:
    """Carry a generator to its end and return what it returns."""
    while True:
        try:
            next(journey)
        except StopIteration as end:
            return end.value


def _levels(clip: Tensor) -> Any:
    """Return [frames, height, width, 3] of bytes."""
    return (clip.clamp(0, 1) * 255).round().permute(1, 2, 3, 0).numpy().astype(np.uint8)
