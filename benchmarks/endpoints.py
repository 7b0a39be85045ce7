"""Make something with every endpoint through `wan-local generate`, and lay it out to be looked at.

    python -m benchmarks.endpoints [--weights weights/random] [--sheet build/endpoints.png]

For each row of ENDPOINTS a request is made up of what its input has: few frames and steps, a drawn
picture, a film, LoRAs from the weights directory. Each runs as a command of its own, as a user
would type it; each file is read back with PyAV or Pillow. On the small checkpoints, which
`python -m weights.build_small` makes, all of it takes a few minutes and shows that every endpoint
works, not how well.

Prints a table, writes it to benchmarks/results/<date>-endpoints-<cpu>.json and .md, and three
frames of each output to the sheet. Ends with 1 if an output is not what was asked for.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image, ImageDraw
from pydantic import BaseModel

from benchmarks.recording import ROOT, machine, record
from server.endpoints import ENDPOINTS, Endpoint
from wan_local.models.loras.files import lora_files
from wan_local.plan import LoraRef

WISHES: dict[str, Any] = {
    "prompt": "a red ball rolls over a blue floor",
    "seed": 7,
    "num_frames": 17,
    "num_inference_steps": 3,
    "resolution": "580p",
    "image_size": {"width": 128, "height": 64},
    "interpolator_model": "none",
}
"""What is asked of every endpoint that has such a field."""
FILES = {"image_url": "start.png", "end_image_url": "end.png", "video_url": "film.mp4"}
TYPES = {"video": ".mp4", "image": ".png"}
HEADINGS = ("endpoint", "brought", "file", "size", "frames", "fps", "seconds")
TILE = (160, 120)


def make_files(folder: Path) -> None:
    """Draw two pictures and a film of a ball that moves between them."""
    frames = [Image.new("RGB", (256, 144), "steelblue") for _ in range(24)]
    for number, frame in enumerate(frames):
        ImageDraw.Draw(frame).ellipse((16 + 6 * number, 40, 80 + 6 * number, 104), fill="tomato")
    frames[0].save(folder / FILES["image_url"])
    frames[-1].save(folder / FILES["end_image_url"])
    with av.open(str(folder / FILES["video_url"]), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(16))
        stream.width, stream.height, stream.pix_fmt = 256, 144, "yuv420p"
        for frame in [*map(av.VideoFrame.from_image, frames), None]:
            container.mux(stream.encode(frame))


def request_for(endpoint: Endpoint, folder: Path, weights: Path) -> dict[str, Any]:
    """Return a request with what *endpoint* takes of `WISHES`, files and LoRAs."""
    fields = endpoint.input.model_fields
    request = {name: wish for name, wish in WISHES.items() if name in fields}
    request |= {name: str(folder / file) for name, file in FILES.items() if name in fields}
    if "loras" in fields:
        pair = lora_files(weights, LoraRef(name=f"{endpoint.model}-4step"))
        request["loras"] = [{"path": str(path), "transformer": half} for half, path in pair]
    return request


def generate(
    endpoint: Endpoint, request: dict[str, Any], weights: Path, folder: Path
) -> dict[str, Any]:
    """Run the command; return what it said of its output, and how long it took."""
    kind = kind_of(endpoint.output)
    output = folder / (endpoint.id.replace("/", "-") + TYPES[kind])
    if kind == "image" and "image_format" not in endpoint.input.model_fields:
        output = output.with_suffix(".jpg")
    command = [
        sys.executable,
        "-m",
        "server.cli",
        "generate",
        endpoint.id,
        "--json",
        "--input",
        "-",
    ]
    command += ["-o", str(output), "--weights-dir", str(weights), "--device", "cpu"]
    began = time.perf_counter()
    ran = subprocess.run(
        command, cwd=ROOT, input=json.dumps(request), capture_output=True, text=True
    )
    if ran.returncode:
        sys.exit(f"{endpoint.id}: exit {ran.returncode}\n{ran.stderr}")
    answer = json.loads(ran.stdout.splitlines()[-1])["output"]
    return {"path": output, "said": answer[kind], "seconds": time.perf_counter() - began}


def kind_of(output: type[BaseModel]) -> str:
    """Return what an answer holds, `video` or `image`."""
    return "video" if "video" in output.model_fields else "image"


def look(path: Path) -> tuple[list[Image.Image], float | None]:
    """Decode *path*; return its frames, and their rate if it is a video."""
    if path.suffix != ".mp4":
        with Image.open(path) as image:
            return [image.convert("RGB")], None
    with av.open(str(path)) as container:
        rate = container.streams.video[0].average_rate
        return [frame.to_image() for frame in container.decode(video=0)], float(rate or 0)


def faults(said: dict[str, Any], frames: list[Image.Image], fps: float | None) -> list[str]:
    """Return what of an output is not as the answer says, or not to be seen."""
    found = [] if frames[0].size == (said["width"], said["height"]) else ["size"]
    found += ["frames"] if len(frames) != said.get("num_frames", 1) else []
    found += ["fps"] if fps != said.get("fps") else []
    return found + (["flat"] if min(np.asarray(frame).std() for frame in frames) < 5 else [])


def sheet(outputs: dict[str, list[Image.Image]]) -> Image.Image:
    """Lay first, middle and last frame of each output beside its name, a row each."""
    paper = Image.new("RGB", (3 * TILE[0] + 300, len(outputs) * TILE[1]), "white")
    for row, (name, frames) in enumerate(outputs.items()):
        ImageDraw.Draw(paper).text((8, row * TILE[1] + 50), name, fill="black")
        for column, number in enumerate(sorted({0, len(frames) // 2, len(frames) - 1})):
            tile = frames[number].copy()
            tile.thumbnail((TILE[0] - 8, TILE[1] - 8))
            paper.paste(tile, (300 + column * TILE[0], row * TILE[1]))
    return paper


def table(rows: list[dict[str, Any]]) -> str:
    """Return *rows* as a table in Markdown."""
    lines = [f"| {' | '.join(HEADINGS)} |", "|---|---|---|---|--:|--:|--:|"]
    return "\n".join(lines + [f"| {' | '.join(str(r[h]) for h in HEADINGS)} |" for r in rows])


def row_for(
    endpoint: str, request: dict[str, Any], output: dict[str, Any], frames: list[Image.Image]
) -> dict[str, Any]:
    """Return one row of the table, of an output that was opened."""
    said = output["said"]
    brought = [name for name in (*FILES, "loras") if name in request]
    return {
        "endpoint": endpoint,
        "brought": ", ".join(brought) or "–",
        "file": output["path"].suffix[1:],
        "size": f"{frames[0].width}×{frames[0].height}",
        "frames": len(frames),
        "fps": said.get("fps", "–"),
        "seconds": round(output["seconds"], 1),
    }


def main() -> int:
    """Generate, look, print and write; 1 if an output is not what its answer says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=ROOT / "weights" / "random")
    parser.add_argument("--sheet", type=Path, default=Path("endpoints.png"))
    options = parser.parse_args()
    on, rows, outputs, wrong = machine(), [], {}, {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_files(folder)
        for endpoint in ENDPOINTS.values():
            request = request_for(endpoint, folder, options.weights)
            output = generate(endpoint, request, options.weights.absolute(), folder)
            frames, fps = look(output["path"])
            outputs[endpoint.id], wrong[endpoint.id] = frames, faults(output["said"], frames, fps)
            rows.append(row_for(endpoint.id, request, output, frames))
            print(f"{endpoint.id}: {wrong[endpoint.id] or 'as it says'}", file=sys.stderr)
    sheet(outputs).save(options.sheet)
    path = record("endpoints", on, {"rows": rows, "wrong": {k: v for k, v in wrong.items() if v}})
    text = f"{table(rows)}\n\n{on['cpu']}, {on['cores']} cores; commit {on['commit']}.\n"
    (ROOT / path).with_suffix(".md").write_text(text)
    print(f"{text}\nwritten to {path}; frames of each: {options.sheet}")
    return int(any(wrong.values()))


if __name__ == "__main__":
    sys.exit(main())
