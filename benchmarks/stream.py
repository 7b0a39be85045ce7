"""Peak memory and wall time from latents to an MP4: our stream beside decoding all at once.

    python -m benchmarks.stream [--size 640x360] [--frames 33 161]
    python -m benchmarks.stream --size 1280x720 --sides ours --rife --frames 33 161

A VAE of Wan 2.1's shape with random weights and, unless told otherwise, very few channels, so that
a CPU gets through full frames: it measures what happens to frames, not how fast a VAE is. Each case
runs in a fresh process; memory is the process's peak above what it held before decoding, ffmpeg's
peak beside it. The other side is what diffusers' users write: `vae.decode`, `VideoProcessor`,
`export_to_video` (needs imageio). With `--rife`, ours puts a frame between each pair as well, with
a network of RIFE 4.26's shape and random weights. `--dtype` is both networks'; `--tiles`, ours.
CPU time is this process's and ffmpeg's, which other work on the machine changes little.

Writes benchmarks/results/<date>-stream-<options>-<cpu>.json and, as a table, the same with `.md`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import AutoencoderKLWan
from diffusers.utils import export_to_video
from diffusers.video_processor import VideoProcessor

from benchmarks.recording import ROOT, machine, record
from tests.wan_local.plans import a_plan
from tests.watching import children
from wan_local.events import FramesWritten
from wan_local.interpolation.pairs import Interpolator
from wan_local.interpolation.rife import Rife, RifeLayout
from wan_local.interpolation.stream import interpolated
from wan_local.plan import InterpolationSpec
from wan_local.rendering import Smoothing, render

SIDES = ("ours", "theirs")
RATIOS = ("wall_s", "cpu_s", "peak_mb")
FULL = 96  # channels of the published VAE's first layer
RIFE_4_26 = RifeLayout((192, 128, 96, 64, 32), "long", 16, 4, carried=8, spare=0)
MARKS = (5, 9, 13, 17, 33, 81, 121, 161)  # frames of the VAE's


def main() -> None:
    """Run every case, print the table and write it down."""
    flags = parsed()
    if flags.case:
        side, frames = flags.case
        print(json.dumps(run_case(side, int(frames), flags)))
        return
    on, cases = machine(), []
    on["threads"] = torch.get_num_threads()
    options = ["--size", flags.size, "--base-dim", str(flags.base_dim), "--dtype", flags.dtype]
    options += ["--tiles", str(flags.tiles), *(["--rife"] if flags.rife else [])]
    for frames in [frames for frames in flags.frames for _ in range(flags.pairs)]:
        for side in flags.sides:
            command = [sys.executable, "-m", "benchmarks.stream", *options]
            ended = subprocess.run(
                [*command, "--case", side, str(frames)],
                check=True,
                stdout=subprocess.PIPE,  # what goes wrong is to be read on stderr
                text=True,
            )
            cases.append(json.loads(ended.stdout.splitlines()[-1]))
            print(cases[-1], flush=True)
    names = ("size", "base_dim", "dtype", "tiles", "rife", "note")
    what = {name: getattr(flags, name) for name in names} | {"cases": cases}
    if len(flags.sides) > 1:
        what["theirs_over_ours"] = [
            {"frames": ours["frames"]}
            | {name: round(theirs[name] / ours[name], 2) for name in RATIOS}
            for ours, theirs in zip(cases[::2], cases[1::2], strict=True)
        ]
    full, rife = "-full" * (flags.base_dim == FULL), "-rife" * flags.rife
    path = record(f"stream-{flags.size}{full}{rife}", on, what)
    text = f"{table(what)}\n\n{summary(on, what)}\n"
    (ROOT / path).with_suffix(".md").write_text(text)
    print(f"{text}\nwritten to {path}")


def parsed() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--frames", type=int, nargs="+", default=[33, 161])
    parser.add_argument("--base-dim", type=int, default=2, help=f"the published VAE has {FULL}")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--tiles", type=int, default=1, help="rows and columns, in ours")
    parser.add_argument("--rife", action="store_true", help="a frame between each pair, in ours")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--pairs", type=int, default=1, help="how often each case is run")
    parser.add_argument("--note", default="", help="what else there is to know of this run")
    parser.add_argument("--case", nargs=2, help="run one side with so many frames, and end")
    return parser.parse_args()


def run_case(side: str, frames: int, flags: argparse.Namespace) -> dict[str, Any]:
    """Decode and encode random latents on one side."""
    torch.manual_seed(0)
    layers = 2 if flags.base_dim == FULL else 1
    vae = AutoencoderKLWan(base_dim=flags.base_dim, z_dim=16, num_res_blocks=layers).eval()
    vae.to(getattr(torch, flags.dtype))
    width, height = map(int, flags.size.split("x"))
    latents = torch.randn(1, 16, 1 + (frames - 1) // 4, height // 8, width // 8)
    ours_with = rife(getattr(torch, flags.dtype)) if flags.rife else None
    with tempfile.TemporaryDirectory() as folder, Encoder() as encoder:
        output = Path(folder) / "a.mp4"
        forget_peak()
        before, began, used = memory_mb("VmRSS"), time.perf_counter(), cpu_seconds()
        if side == "ours":
            peaks = ours(vae, latents, output, frames=frames, tiles=flags.tiles, rife=ours_with)
        else:
            theirs(vae, latents, output)
            peaks = {}
        wall = time.perf_counter() - began
        return {
            "side": side,
            "frames": frames,
            "wall_s": round(wall, 1),
            "cpu_s": round(cpu_seconds() - used, 1),
            "peak_mb": round(memory_mb("VmHWM") - before),
            "peak_mb_when_written": {done: round(peak - before) for done, peak in peaks.items()},
            "encoder_mb": round(encoder.peak_mb),
            "bytes": output.stat().st_size,
        }


def ours(
    vae: AutoencoderKLWan,
    latents: torch.Tensor,
    output: Path,
    *,
    frames: int,
    tiles: int,
    rife: Smoothing | None,
) -> dict[str, float]:
    """Stream; return the peak by the time that so many frames of the VAE's were written."""
    between = InterpolationSpec(model="rife", frames_between=1) if rife else None
    plan = a_plan(num_frames=frames, interpolation=between)
    peaks: dict[str, float] = {}
    for event in render(vae, latents, plan, output, tiles=tiles, smoothing=rife):
        if isinstance(event, FramesWritten):
            decoded = 1 + (event.done - 1) // (2 if rife else 1)
            peaks |= {str(mark): memory_mb("VmHWM") for mark in MARKS if decoded == mark}
    return peaks


def rife(dtype: torch.dtype) -> Smoothing:
    """Return a network of the published size that puts one frame between each pair."""
    network = Rife(RIFE_4_26).eval().requires_grad_(requires_grad=False).to(dtype)
    return partial(interpolated, interpolator=Interpolator(network), frames_between=1)


@torch.inference_mode()
def theirs(vae: AutoencoderKLWan, latents: torch.Tensor, output: Path) -> None:
    """Decode everything, then hand it to the exporter."""
    video = vae.decode(latents.to(vae.dtype), return_dict=False)[0]
    frames = VideoProcessor(vae_scale_factor=8).postprocess_video(video, output_type="np")[0]
    export_to_video(frames, str(output), fps=16)


class Encoder:
    """Watches the ffmpeg that this process has started; use it in a `with`."""

    def __init__(self) -> None:
        self.peak_mb = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            for process in children():
                with suppress(OSError, IndexError):  # it may end while we look
                    self._look(process)

    def _look(self, process: str) -> None:
        # By its name: until it has become ffmpeg, a child looks as large as its parent.
        if Path(f"/proc/{process}/comm").read_text().startswith("ffmpeg"):
            self.peak_mb = max(self.peak_mb, memory_mb("VmHWM", process))


def memory_mb(name: str, process: str = "self") -> float:
    """Return a number of *process* in MB of 10^6 bytes: `VmRSS` now in RAM, `VmHWM` at most."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) * 1024 / 1e6


def cpu_seconds() -> float:
    """Return what this process, and those of its children that have ended, have computed for."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def forget_peak() -> None:
    """Let `VmHWM` begin again at what is held now."""
    Path("/proc/self/clear_refs").write_text("5")


def table(what: dict[str, Any]) -> str:
    """Return the cases as a table in Markdown, ratios below where there are two sides."""
    cases = what["cases"]
    marks = [m for m in map(str, MARKS) if any(m in c["peak_mb_when_written"] for c in cases)]
    rows = [
        [
            "side",
            "frames",
            "seconds",
            "of CPU",
            "peak, MB",
            *(f"at {mark}" for mark in marks),
            "ffmpeg",
        ],
        ["---", *["--:"] * (len(marks) + 5)],
    ]
    for case in cases:
        by_then = [case["peak_mb_when_written"].get(mark, "–") for mark in marks]
        numbers = [case[name] for name in ("side", "frames", *RATIOS)]
        rows.append([*numbers, *by_then, case["encoder_mb"]])
    ratios = what.get("theirs_over_ours", [])
    rows += [["theirs ÷ ours", *pair.values(), *[""] * (len(marks) + 1)] for pair in ratios]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def summary(on: dict[str, Any], what: dict[str, Any]) -> str:
    """Return what the table was measured with, and where."""
    full = "the published size" if what["base_dim"] == FULL else f"{what['base_dim']} base channels"
    smoothed = "RIFE between in ours" if what["rife"] else "no frames between on either side"
    tiles = f", ours in {what['tiles']}×{what['tiles']} tiles" if what["tiles"] > 1 else ""
    return (
        f"{what['size']}; a VAE of {full}, random weights, {what['dtype']}{tiles}; {smoothed}. "
        f'Memory is above what was held before decoding; "at 33" is the peak of the same run '
        f"when 33 decoded frames had been written.\n"
        f"{on['cpu']}, {on['cores']} cores, {on['threads']} thread(s); commit {on['commit']}. "
        f"{what['note']}".rstrip()
    )


if __name__ == "__main__":
    main()
