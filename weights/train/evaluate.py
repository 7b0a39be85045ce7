"""Ask a trained checkpoint for scenes, and read what it shows.

    python -m weights.train.evaluate WEIGHTS [--prompts 200] [--out results.json]

WEIGHTS is a weights directory. The reader is pixel statistics and no network (`reader.py`); the
prompts join colours, shapes and motions that were never trained together (`corpus.held_out`).
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wan_local.engine import Engine, Stopwatch, open_engine
from wan_local.geometry import Size
from wan_local.models.loading import load_component
from wan_local.plan import PromptSpec, SamplingSpec, VideoPlan
from wan_local.stages.decode import decode_pixels, denormalize
from weights.train.clips import COLOURS, MOTIONS, SHAPES, Scene, random_scene
from weights.train.corpus import held_out
from weights.train.reader import read

T2V = "wan2.2-t2v-a14b"
CHANCE = {"colour": 1 / len(COLOURS), "shape": 1 / len(SHAPES), "motion": 1 / len(MOTIONS)}
FRAMES = 17
SIZE = Size(112, 64)

VARIANTS: dict[str, dict[str, Any]] = {
    # name: what differs from twenty steps at shift 5 with guidance
    "20 steps": {},
    "no guidance": {"guidance_high": 1.0, "guidance_low": 1.0},
    "guidance 1.5": {"guidance_high": 1.5, "guidance_low": 1.5},
    "shift 1": {"shift": 1.0},
    "low-noise expert alone": {"boundary": 1.01},
    "high-noise expert alone": {"boundary": 0.0},
}


def scenes(count: int, seed: int = 20260) -> Iterator[Scene]:
    """Yield *count* scenes that were held out of training."""
    generator = torch.Generator().manual_seed(seed)
    while count:
        scene = random_scene(generator)
        if held_out(scene):
            count -= 1
            yield scene


def generate(engine: Engine, vae: Any, scene: Scene, seed: int, **changes: Any) -> Tensor:
    """Return the clip that *scene*'s caption gives, [3, frames, height, width] in -1..1."""
    sampling: dict[str, Any] = {
        "seed": seed,
        "steps": 20,
        "shift": 5.0,
        "boundary": 0.875,
        "guidance_high": 3.5,
        "guidance_low": 4.0,
    }
    plan = VideoPlan(
        model=T2V,
        size=SIZE,
        num_frames=FRAMES,
        fps=16,
        prompt=PromptSpec(text=scene.caption),
        sampling=SamplingSpec(**sampling | changes),
    )
    latents = run(engine.sample(plan, Stopwatch(torch.device("cpu"))))
    return torch.cat(list(decode_pixels(vae, denormalize(vae, latents))), 2)[0]


def run(journey: Any) -> Tensor:
    """Carry a generator to its end and return what it returns."""
    while True:
        try:
            next(journey)
        except StopIteration as end:
            latents: Tensor = end.value
            return latents


def rates(engine: Engine, vae: Any, count: int, **changes: Any) -> dict[str, float]:
    """Return how often the reader sees what the caption said, by attribute."""
    right = dict.fromkeys(CHANCE, 0)
    for index, scene in enumerate(scenes(count)):
        seen = read(generate(engine, vae, scene, index, **changes))
        for name in right:
            right[name] += getattr(seen, name) == getattr(scene, name)
    return {name: round(hits / count, 3) for name, hits in right.items()}


def main() -> None:
    """Measure every variant and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--only", nargs="*", choices=VARIANTS)
    parser.add_argument("--out", type=Path)
    flags = parser.parse_args()
    torch.set_flush_denormal(True)
    engine = open_engine(flags.weights, "cpu")
    vae = load_component(flags.weights / T2V, "vae", torch.float32)
    table: dict[str, Any] = {"chance": {name: round(v, 3) for name, v in CHANCE.items()}}
    print("chance", table["chance"], flush=True)
    for name in flags.only or VARIANTS:
        started = time.perf_counter()
        table[name] = rates(engine, vae, flags.prompts, **VARIANTS[name])
        print(f"{name}: {table[name]}  {time.perf_counter() - started:.0f} s", flush=True)
    if flags.out:
        facts = {"machine": platform.processor() or platform.machine(), "prompts": flags.prompts}
        flags.out.write_text(json.dumps(facts | {"rates": table}, indent=2) + "\n")


if __name__ == "__main__":
    main()
