"""From nothing to demo.mp4: starts a server and sends it one request with fal's own client.

`make demo` runs it. The server gets free ports, a certificate of its own and the small checkpoint
of weights/mini; the client is examples/text_to_video.py, in a process with the three variables that
point fal_client here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av

ROOT = Path(__file__).parent.parent
DATA = ROOT / "demo-data"
VIDEO = ROOT / "demo.mp4"
PROMPT = "a red star moving right slowly over a striped background"
# Wan's own number of frames, and one more between each two of them.
FIELDS = ["resolution=480p", "num_frames=81", "num_inference_steps=16", "interpolator_model=rife"]
PATIENCE = 120.0
"""Seconds the server may take to open its doors."""


def main() -> None:
    """Serve, ask, look at the answer."""
    shutil.rmtree(DATA, ignore_errors=True)
    DATA.mkdir()
    wan_local("tls", "--data-dir", DATA)
    with server() as ready:
        print(f"the server listens on http://{ready['host']}:{ready['port']}\n", flush=True)
        client = [sys.executable, ROOT / "examples" / "text_to_video.py", PROMPT, VIDEO, *FIELDS]
        subprocess.run(client, check=True, env=os.environ | fal_variables(ready))
    frames, size = look_at(VIDEO)
    print(
        f"\n{frames} frames of {size}, in {VIDEO}\n"
        "The checkpoint is a small one that knows eight colours, six shapes and eight motions and\n"
        "nothing else; it is not Wan 2.2. README.md says how to get the real one."
    )


@contextmanager
def server() -> Iterator[dict[str, Any]]:
    """Run `wan-local serve` on free ports for as long as the block takes."""
    ready = DATA / "ready.json"
    flags = ["--data-dir", DATA, "--weights-dir", ROOT / "weights" / "mini", "--device", "cpu"]
    ports = ["--port", "0", "--tls-port", "0", "--ready-file", ready]
    with (DATA / "server.log").open("w") as log:
        command = [sys.executable, "-m", "server.cli", "serve", *flags, *ports]
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + PATIENCE
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the server did not start:\n{(DATA / 'server.log').read_text()}")
            time.sleep(0.05)
        yield json.loads(ready.read_text())
    finally:
        process.terminate()
        process.wait()


def fal_variables(ready: dict[str, Any]) -> dict[str, str]:
    """Return what makes fal_client talk to this server, and to no other."""
    door = f"{ready['host']}:{ready['tls_port']}"
    return {
        "FAL_RUN_HOST": f"{door}/run",
        "FAL_QUEUE_RUN_HOST": f"{door}/queue",
        "SSL_CERT_FILE": ready["ca"],
        # The server has no API keys; the client insists on having one.
        "FAL_KEY": "any:thing",
    }


def look_at(video: Path) -> tuple[int, str]:
    """Return the number of frames in *video* and their size, by decoding all of them."""
    with av.open(str(video)) as container:
        frames = list(container.decode(video=0))
    return len(frames), f"{frames[0].width}×{frames[0].height}"


def wan_local(*arguments: str | Path) -> None:
    """Run one command of the CLI."""
    subprocess.run(
        [sys.executable, "-m", "server.cli", *arguments],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    main()
