"""The same small checkpoint, plan and machine: our engine against diffusers' pipeline.

    python -m benchmarks.engine_vs_diffusers [--pairs 5] [--steps 8] [--frames 81]

Needs `pip install imageio`, without which diffusers' export_to_video does not write. Both sides go
from a prompt to an MP4, each in a fresh process, alternately, so that whatever else the machine
does falls on both. A pair's ratio is taken within the pair; the table shows medians. The
checkpoint has random weights and is tiny: this compares what surrounds the two 14B experts
(imports, loading, the loop, decoding, conversion, encoding), and says nothing of their speed.

Prints a table and writes benchmarks/results/<date>-engine-<cpu>.json.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.recording import ROOT, machine, record

MODEL = "wan2.2-t2v-a14b"
WIDTH, HEIGHT, FPS, SHIFT, SEED = 224, 128, 16, 5.0, 7
GUIDANCE_HIGH, GUIDANCE_LOW = 3.5, 4.0
PROMPT = "a cat and a dog baking a cake together in a kitchen"
NEGATIVE = "blurred details, subtitles, worst quality"
SIDES = ("diffusers", "ours")
MEASURES = {
    "process_s": "whole process, s",
    "import_s": "  of which imports, s",
    "load_s": "  of which loading, s",
    "video_s": "  of which prompt to MP4, s",
    "cpu_s": "CPU time to the MP4, s",
    "again_s": "second video, loaded, s",
    "peak_mb": "peak memory, MB",
    "above_imports_mb": "  of which above imports, MB",
}


def run_ours(weights: Path, output: Path, *, steps: int, frames: int) -> dict[str, float]:
    """Carry the plan out with our engine and return the seconds of each part."""
    began = time.perf_counter()
    from wan_local.engine import open_engine
    from wan_local.geometry import Size
    from wan_local.plan import EncodingSpec, PromptSpec, SamplingSpec, VideoPlan

    imported, idle = time.perf_counter(), peak_mb()
    plan = VideoPlan(
        model=MODEL,
        size=Size(WIDTH, HEIGHT),
        num_frames=frames,
        fps=FPS,
        prompt=PromptSpec(text=PROMPT, negative=NEGATIVE),
        sampling=SamplingSpec(
            seed=SEED,
            steps=steps,
            shift=SHIFT,
            boundary=0.875,
            guidance_high=GUIDANCE_HIGH,
            guidance_low=GUIDANCE_LOW,
        ),
        # x264's CRF 23; diffusers' exporter asks for 25 at the same preset, a little less work.
        encoding=EncodingSpec(quality="medium"),
    )
    engine = open_engine(weights, "cpu")
    *_, finished = engine.run(plan, output)
    done, cpu = time.perf_counter(), cpu_seconds()
    list(engine.run(plan, output))
    again = time.perf_counter() - done
    load = finished.timings["load"]
    return {
        "import_s": imported - began,
        "load_s": load,
        "video_s": done - imported - load,
        "cpu_s": cpu,
        "again_s": again,
        "peak_mb": peak_mb(),
        "above_imports_mb": peak_mb() - idle,
    }


def run_diffusers(weights: Path, output: Path, *, steps: int, frames: int) -> dict[str, float]:
    """Carry the same out with WanPipeline and export_to_video, as their example does."""
    began = time.perf_counter()
    import torch
    from diffusers import UniPCMultistepScheduler, WanPipeline
    from diffusers.utils import export_to_video

    imported, idle = time.perf_counter(), peak_mb()
    pipeline = WanPipeline.from_pretrained(weights / MODEL, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = UniPCMultistepScheduler.from_config(
        pipeline.scheduler.config, flow_shift=SHIFT
    )
    loaded = time.perf_counter()

    def generate() -> None:
        video = pipeline(
            prompt=PROMPT,
            negative_prompt=NEGATIVE,
            height=HEIGHT,
            width=WIDTH,
            num_frames=frames,
            num_inference_steps=steps,
            guidance_scale=GUIDANCE_HIGH,
            guidance_scale_2=GUIDANCE_LOW,
            generator=torch.Generator("cpu").manual_seed(SEED),
        ).frames[0]
        export_to_video(video, str(output), fps=FPS)

    generate()
    done, cpu = time.perf_counter(), cpu_seconds()
    generate()
    return {
        "import_s": imported - began,
        "load_s": loaded - imported,
        "video_s": done - loaded,
        "cpu_s": cpu,
        "again_s": time.perf_counter() - done,
        "peak_mb": peak_mb(),
        "above_imports_mb": peak_mb() - idle,
    }


def peak_mb() -> float:
    """Return this process's largest resident size so far; ffmpeg, a child, is not in it."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def cpu_seconds() -> float:
    """Return the CPU time of this process and its ffmpeg so far, imports included.

    Less disturbed by what else the machine does than the clock on the wall.
    """
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(side: str, weights: Path, options: argparse.Namespace) -> dict[str, float]:
    """Run one side in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.engine_vs_diffusers", "--side", side]
    command += ["--weights", str(weights)]
    command += ["--steps", str(options.steps), "--frames", str(options.frames)]
    began = time.perf_counter()
    child = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    measured: dict[str, float] = json.loads(child.stdout)
    # What the second video took is a measurement of its own and not part of the first's process.
    return {"process_s": time.perf_counter() - began - measured["again_s"]} | measured


def report(pairs: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Print medians and ratios, and return them."""
    table = {}
    print(f"{'':32}{'diffusers':>10}{'ours':>10}{'ratio':>8}   (diffusers / ours, within pairs)")
    for name, title in MEASURES.items():
        row = {side: median(pair[side][name] for pair in pairs) for side in SIDES}
        ratios = sorted(pair["diffusers"][name] / pair["ours"][name] for pair in pairs)
        table[name] = row | {"ratio": median(ratios), "lowest": ratios[0], "highest": ratios[-1]}
        print(
            f"{title:32}{row['diffusers']:10.2f}{row['ours']:10.2f}{median(ratios):8.2f}"
            f"   {ratios[0]:.2f} to {ratios[-1]:.2f}"
        )
    return table


def versions() -> dict[str, str]:
    """Return the releases that were compared."""
    packages = ("torch", "diffusers", "transformers", "imageio", "imageio-ffmpeg")
    return {name: importlib.metadata.version(name) for name in packages}


def compare(options: argparse.Namespace) -> None:
    """Measure pairs, alternating which side goes first, and write the result."""
    on = machine()
    with tempfile.TemporaryDirectory() as folder:
        build = [sys.executable, "-m", "weights.build_small", folder]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        for side in SIDES:  # once unmeasured: the files' pages are read from disk
            measure(side, Path(folder), argparse.Namespace(steps=1, frames=1))
        pairs = []
        for number in range(options.pairs):
            order = SIDES if number % 2 == 0 else SIDES[::-1]
            pairs.append({side: measure(side, Path(folder), options) for side in order})
            print(f"pair {number + 1} of {options.pairs}", file=sys.stderr)
    plan = {"size": f"{WIDTH}x{HEIGHT}", "frames": options.frames, "steps": options.steps}
    numbers = {"versions": versions(), "plan": plan, "medians": report(pairs), "pairs": pairs}
    print(f"written to {record('engine', on, numbers)}")


def main() -> None:
    """Compare, or run one side for the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side is None:
        compare(options)
        return
    os.environ["HF_HUB_OFFLINE"] = "1"
    run = run_ours if options.side == "ours" else run_diffusers
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "video.mp4"
        measured = run(options.weights, output, steps=options.steps, frames=options.frames)
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
