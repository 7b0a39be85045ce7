"""What trained checkpoints must show, a measure each; every one is read off pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from wan_local.plan import LoraRef, StartSpec, VideoPlan
from wan_local.stages.encode import encode_frames
from weights.train.asking import (
    I2V,
    T2V,
    TI2V,
    TURBO,
    Studio,
    a_plan,
    carried_out,
    said,
    scenes,
    source,
    swapped,
    the_pair,
    true_clips,
)
from weights.train.clips import COLOURS, MOTIONS, SHAPES, Scene
from weights.train.reader import read
from weights.train.style_loras import files
from weights.train.styles import STYLES, TAUGHT

Result = dict[str, float | bool]
ATTRIBUTES = {"colour": 1 / len(COLOURS), "shape": 1 / len(SHAPES), "motion": 1 / len(MOTIONS)}
ALL = "all three"
CHANCE = ATTRIBUTES | {ALL: math.prod(ATTRIBUTES.values())}
"""How often a reading is right that knows nothing."""
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)


def psnr(seen: Tensor, true: Tensor) -> float:
    """Return how near two pictures or clips in 0..1 are, in dB."""
    return float(-10 * torch.log10((seen - true).square().mean().clamp(min=1e-10)))


def rates(studio: Studio, count: int, frames: int, model: str = T2V, **changes: Any) -> Result:
    """Return how often the reader sees what the caption said, by attribute and in all."""
    return _rates(
        studio, count, lambda scene, seed: a_plan(model, said(scene), seed, frames, **changes)
    )


def avoided(studio: Studio, count: int, frames: int) -> Result:
    """Return the rates where the negative prompt names the very colour and shape asked for."""
    return _rates(
        studio,
        count,
        lambda scene, seed: a_plan(
            T2V, replace(said(scene), negative=f"a {scene.colour} {scene.shape}"), seed, frames
        ),
    )


def exchanged(studio: Studio, count: int, frames: int) -> Result:
    """Return the rates with the two experts in one another's place."""
    return rates(Studio(swapped(studio.weights, studio.folder), studio.folder), count, frames)


def _rates(studio: Studio, count: int, plan: Callable[[Scene, int], VideoPlan]) -> Result:
    right = dict.fromkeys(CHANCE, 0)
    for index, scene in enumerate(scenes(count)):
        seen = read(studio.clip(plan(scene, index)) * 2 - 1)
        found = {name: getattr(seen, name) == getattr(scene, name) for name in ATTRIBUTES}
        for name, hit in (found | {ALL: all(found.values())}).items():
            right[name] += hit
    return {name: hits / count for name, hits in right.items()}


def pictured(
    studio: Studio, count: int, frames: int, *, model: str = I2V, last: bool = False, **more: Any
) -> Result:
    """Return how well the given picture, or both, are kept, in dB, and the rate of motions."""
    first_db, last_db, moved = [], [], 0
    for seed, (scene, true) in enumerate(true_clips(model, count, frames)):
        pictures = {"first_frame": studio.picture(true[:, 0])}
        if last:
            pictures["last_frame"] = studio.picture(true[:, -1])
        seen = studio.clip(a_plan(model, said(scene), seed, frames, **pictures, **more))
        first_db.append(psnr(seen[:, 0], true[:, 0]))
        last_db.append(psnr(seen[:, -1], true[:, -1]))
        moved += read(seen * 2 - 1).motion == scene.motion
    found = {"first, dB": fmean(first_db), "worst first, dB": min(first_db)}
    if last:
        found |= {"last, dB": fmean(last_db), "worst last, dB": min(last_db)}
    return found | {"motion": moved / count}


def resemblance(studio: Studio, count: int, frames: int) -> Result:
    """Return how near a video made of another is to it, in dB, by strength.

    The prompt is another clip's: what is left of the source is not left for the words' sake.
    """
    near: dict[float, list[float]] = {strength: [] for strength in STRENGTHS}
    others = list(scenes(count, seed=8))
    for seed, (_, true) in enumerate(true_clips(T2V, count, frames)):
        file = studio.video(true)
        for strength in STRENGTHS:
            start = StartSpec(file=file, strength=strength)
            plan = a_plan(T2V, said(others[seed]), seed, frames, start=start)
            near[strength].append(psnr(studio.clip(plan), true))
    found = {f"strength {strength:g}, dB": fmean(values) for strength, values in near.items()}
    return found | {"falls": list(found.values()) == sorted(found.values(), reverse=True)}


def styled(studio: Studio, count: int, frames: int, *, style: str, folder: Path) -> Result:
    """Return the share of pixels in *style* without its LoRA and with it; and whether it is gone.

    Raises:
        FileNotFoundError: If its files are not in *folder*.
    """
    loras = style_loras(style, folder)
    seen = STYLES[style].seen
    assert seen is not None
    without, having, gone = [], [], True
    for seed, scene in enumerate(scenes(count)):
        plan = a_plan(T2V, said(scene), seed, frames)
        before = studio.latents(plan)
        having.append(seen(studio.clip(replace(plan, loras=loras))))
        without.append(seen(studio.pixels(T2V, before)))
        gone = gone and torch.equal(before, studio.latents(plan))
    return {"without": fmean(without), "with": fmean(having), "bit-equal afterwards": gone}


def style_loras(style: str, folder: Path) -> tuple[LoraRef, ...]:
    """Return the LoRAs of *style* in *folder*.

    Raises:
        FileNotFoundError: If they are not all there.
    """
    return tuple(
        LoraRef(
            name=name,
            target="both" if len(sides) == 2 else sides[0],
            file=source(folder / name),
        )
        for name, sides in files(style).items()
    )


def reconstructed(studio: Studio, count: int, frames: int, *, model: str) -> Result:
    """Return how near the VAE of *model* comes to clips it has not seen, in dB."""
    near = []
    for _, true in true_clips(model, count, frames):
        pixels = (true * 2 - 1).unsqueeze(0).split(1, dim=2)
        latents = carried_out(encode_frames(studio.vae(model), pixels))
        near.append(psnr(studio.pixels(model, latents), true))
    return {"dB": fmean(near), "worst, dB": min(near)}


Measure = Callable[[Studio, int, int], Result]
"""(studio, number of prompts or clips, frames) -> numbers."""

RATES: dict[str, Measure] = {
    # what differs from twenty steps at shift 5 with guidance
    "20 steps": rates,
    "no guidance": partial(rates, guidance_high=1.0, guidance_low=1.0),
    "guidance 1.5": partial(rates, guidance_high=1.5, guidance_low=1.5),
    "shift 1": partial(rates, shift=1.0),
    "negative prompt: its colour and shape": avoided,
    "experts swapped": exchanged,
    "low-noise expert alone": partial(rates, boundary=1.01),
    "high-noise expert alone": partial(rates, boundary=0.0),
    "turbo, 4 steps": partial(rates, **TURBO, loras=the_pair(T2V)),
    "4 steps without its LoRAs": partial(rates, **TURBO),
    "4 steps without its LoRAs, shift 1": partial(rates, **TURBO, shift=1.0),
    "5B, 20 steps": partial(rates, model=TI2V),
}
CLIPS: dict[str, Measure] = {
    "VAE 2.1": partial(reconstructed, model=T2V),
    "VAE 2.2": partial(reconstructed, model=TI2V),
    "image to video": pictured,
    "image to video, both ends": partial(pictured, last=True),
    "image to video, turbo": partial(pictured, **TURBO, loras=the_pair(I2V)),
    "image to video, 5B": partial(pictured, model=TI2V),
    "video to video": resemblance,
}


def of_styles(folder: Path) -> dict[str, Measure]:
    """Return the measures of the style LoRAs in *folder*."""
    return {f"LoRA {name}": partial(styled, style=name, folder=folder) for name in TAUGHT}
