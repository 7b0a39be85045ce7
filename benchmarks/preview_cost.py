"""What previews cost: the same plan with and without them, and one picture of each size.

    python -m benchmarks.preview_cost [--pairs 5] [--steps 8] [--frames 21]

First the small checkpoint, in pairs that take turns in being first, a picture after every step:
its steps are so cheap that the share is far above that of a real model. Then pictures alone, of
latents with the sizes of real videos: this is what is added to a step of any model. The tiny
decoder has random weights, which cost as much as the published ones. Computing time of one
thread, not wall time: the numbers are to be the same on a busy machine.

Prints a table and writes benchmarks/results/<date>-previews-<cpu>.json.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.recording import ROOT, machine, record
from wan_local.engine import Engine, open_engine
from wan_local.events import Previewed, Stage, StageStarted
from wan_local.geometry import Size
from wan_local.models.taehv import TinyDecoder
from wan_local.plan import PromptSpec, SamplingSpec, VideoPlan
from wan_local.stages.preview import DOUBLINGS, draw, to_jpeg

SIZES = {"480p, A14B": (16, 60, 104), "720p, A14B": (16, 90, 160), "704p, 5B": (48, 44, 80)}
"""Of the latents: channels, height, width."""
PATCHES = {16: 1, 48: 2}
REPEATS = 5


def plan(steps: int, frames: int, *, every: int) -> VideoPlan:
    """Return a plan for the small checkpoint at the size it makes of 720p."""
    return VideoPlan(
        model="wan2.2-t2v-a14b",
        size=Size(224, 128),
        num_frames=frames,
        fps=16,
        prompt=PromptSpec(text="a cat and a dog baking a cake", negative="blurred details"),
        sampling=SamplingSpec(
            seed=7,
            steps=steps,
            shift=5.0,
            boundary=0.875,
            guidance_high=3.5,
            guidance_low=4.0,
        ),
        preview_every=every,
    )


def denoising(engine: Engine, spec: VideoPlan) -> tuple[float, int]:
    """Denoise *spec*; return the seconds of computing it took and the largest preview's bytes."""
    stages: dict[Stage, float] = {}
    largest = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(engine.run(spec, Path(folder) / "a")) as run,
    ):
        for event in run:
            if isinstance(event, StageStarted):
                stages[event.stage] = time.process_time()
            if isinstance(event, Previewed):
                largest = max(largest, len(event.jpeg) * 3 // 4)
            if Stage.DECODE in stages:
                break
    return stages[Stage.DECODE] - stages[Stage.DENOISE], largest


def pairs(weights: Path, count: int, steps: int, frames: int) -> dict[str, Any]:
    """Return medians over *count* pairs, and the ratio within each."""
    engine = open_engine(weights, "cpu")
    plans = {every: plan(steps, frames, every=every) for every in (0, 1)}
    denoising(engine, plans[0])  # loads the weights
    seconds: dict[int, list[float]] = {0: [], 1: []}
    largest = 0
    for number in range(count):
        for every in ((0, 1), (1, 0))[number % 2]:
            took, size = denoising(engine, plans[every])
            seconds[every].append(took)
            largest = max(largest, size)
    engine.close()
    ratios = [with_ / without for without, with_ in zip(seconds[0], seconds[1], strict=True)]
    return {
        "steps": steps,
        "frames": frames,
        "denoise_cpu_s_without": [round(s, 3) for s in seconds[0]],
        "denoise_cpu_s_with": [round(s, 3) for s in seconds[1]],
        "ratios": [round(ratio, 3) for ratio in ratios],
        "ratio_median": round(median(ratios), 3),
        "largest_jpeg_bytes": largest,
    }


def pictures() -> dict[str, dict[str, float]]:
    """Return the milliseconds of one picture for each size, by the matrix and by the decoder."""
    found = {}
    for name, (channels, height, width) in SIZES.items():
        latents = torch.randn(1, channels, 3, height, width)
        decoder = TinyDecoder(channels, PATCHES[channels], in_time=False, doublings=DOUBLINGS)
        found[name] = {
            "matrix_ms": milliseconds(latents, None),
            "tiny_decoder_ms": milliseconds(latents, decoder),
        }
    return found


def milliseconds(latents: torch.Tensor, decoder: TinyDecoder | None) -> float:
    """Return the median time of a picture, its JPEG included."""
    took = []
    for _ in range(REPEATS):
        began = time.process_time()
        to_jpeg(draw(latents, decoder))
        took.append((time.process_time() - began) * 1000)
    return round(median(took), 1)


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--frames", type=int, default=21)
    parser.add_argument("--weights", type=Path, default=ROOT / "weights" / "random")
    flags = parser.parse_args()
    torch.set_num_threads(1)
    on = machine()
    numbers = {
        "threads": 1,
        "small_checkpoint": pairs(flags.weights, flags.pairs, flags.steps, flags.frames),
        "one_picture": pictures(),
    }
    small = numbers["small_checkpoint"]
    print(f"denoising with a picture after every step ÷ without: {small['ratio_median']}")
    for name, times in numbers["one_picture"].items():
        print(f"{name}: matrix {times['matrix_ms']} ms, decoder {times['tiny_decoder_ms']} ms")
    print(record("previews", on, numbers))


if __name__ == "__main__":
    main()
