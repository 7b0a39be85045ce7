"""Peak memory and wall time from latents to an MP4: our stream beside decoding all at once.

    python -m benchmarks.stream [--size 640x360] [--frames 33 161]
    python -m benchmarks.stream --size 1280x720 --rife --base-dim 96 --sides ours --frames 5 13

A VAE of Wan 2.1's shape with random weights and, unless told otherwise, very few channels, so that
a CPU gets through full frames: it measures what happens to frames, not how fast a VAE is. Each case
runs in a fresh process; memory is the process's peak above what it held before decoding. The other
side is what diffusers' users write: `vae.decode`, `VideoProcessor`, `export_to_video` (needs
imageio). With `--rife`, ours puts a frame between each pair as well, with a network of RIFE 4.26's
shape and random weights.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from diffusers.utils import export_to_video
from diffusers.video_processor import VideoProcessor

from benchmarks.recording import machine, record
from tests.wan_local.plans import a_plan
from wan_local.interpolation.pairs import Interpolator
from wan_local.interpolation.rife import Rife, RifeLayout
from wan_local.interpolation.stream import interpolated
from wan_local.plan import InterpolationSpec
from wan_local.rendering import render

SIDES = ("ours", "theirs")
FULL = 96  # channels of the published VAE's first layer
RIFE_4_26 = RifeLayout((192, 128, 96, 64, 32), "long", 16, 4, carried=8, spare=0)


def main() -> None:
    """Run every case, print the table and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--frames", type=int, nargs="+", default=[33, 161])
    parser.add_argument("--base-dim", type=int, default=2, help=f"the published VAE has {FULL}")
    parser.add_argument("--rife", action="store_true", help="a frame between each pair, in ours")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--case", nargs=2, help="run one side with so many frames, and end")
    flags = parser.parse_args()
    width, height = map(int, flags.size.split("x"))
    if flags.case:
        side, frames = flags.case
        case = run_case(side, int(frames), width, height, base_dim=flags.base_dim, rife=flags.rife)
        print(json.dumps(case))
        return
    on, cases = machine(), []
    for frames in flags.frames:
        for side in flags.sides:
            command = [sys.executable, "-m", "benchmarks.stream", "--size", flags.size]
            command += ["--base-dim", str(flags.base_dim), *(["--rife"] if flags.rife else [])]
            ended = subprocess.run(
                [*command, "--case", side, str(frames)], check=True, capture_output=True, text=True
            )
            cases.append(json.loads(ended.stdout.splitlines()[-1]))
            print(cases[-1], flush=True)
    what = {"size": flags.size, "base_dim": flags.base_dim, "rife": flags.rife, "cases": cases}
    if len(flags.sides) > 1:
        what["theirs_over_ours"] = [
            {"frames": ours["frames"]}
            | {name: round(theirs[name] / ours[name], 2) for name in ("wall_s", "peak_mb")}
            for ours, theirs in zip(cases[::2], cases[1::2], strict=True)
        ]
        print(what["theirs_over_ours"])
    full, rife = "-full" * (flags.base_dim == FULL), "-rife" * flags.rife
    print(record(f"stream{full}{rife}", on, what))


def run_case(
    side: str, frames: int, width: int, height: int, *, base_dim: int, rife: bool
) -> dict[str, Any]:
    """Decode and encode random latents on one side."""
    torch.manual_seed(0)
    layers = 2 if base_dim == FULL else 1
    vae = AutoencoderKLWan(base_dim=base_dim, z_dim=16, num_res_blocks=layers).eval()
    smoothing, between = None, None
    if rife:
        network = Interpolator(Rife(RIFE_4_26).eval().requires_grad_(requires_grad=False))
        smoothing = partial(interpolated, interpolator=network, frames_between=1)
        between = InterpolationSpec(model="rife", frames_between=1)
    latents = torch.randn(1, 16, 1 + (frames - 1) // 4, height // 8, width // 8)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "a.mp4"
        before, began = peak_mb(), time.perf_counter()
        if side == "ours":
            plan = a_plan(num_frames=frames, interpolation=between)
            for _ in render(vae, latents, plan, output, smoothing=smoothing):
                pass
        else:
            theirs(vae, latents, output)
        wall = time.perf_counter() - began
        return {
            "side": side,
            "frames": frames,
            "wall_s": round(wall, 1),
            "peak_mb": round(peak_mb() - before),
            "bytes": output.stat().st_size,
        }


@torch.inference_mode()
def theirs(vae: AutoencoderKLWan, latents: torch.Tensor, output: Path) -> None:
    """Decode everything, then hand it to the exporter."""
    video = vae.decode(latents, return_dict=False)[0]
    frames = VideoProcessor(vae_scale_factor=8).postprocess_video(video, output_type="np")[0]
    export_to_video(frames, str(output), fps=16)


def peak_mb() -> float:
    """Return the most memory this process has had in RAM, in MB of 10^6 bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    main()
