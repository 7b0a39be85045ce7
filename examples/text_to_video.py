"""A client: nothing in it knows of wan-local.

It is fal's own Python client, and runs against this server because of three variables that
`wan-local serve` prints (FAL_RUN_HOST, FAL_QUEUE_RUN_HOST, SSL_CERT_FILE):

    python examples/text_to_video.py "two drops of ink fall into clear water" ink.mp4
"""

from __future__ import annotations

import argparse
import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import fal_client
from rich.progress import Progress, TaskID

ENDPOINT = "fal-ai/wan/v2.2-a14b/text-to-video"
STEP = re.compile(r"(\w+) (\d+)/(\d+)")
"""A log line that a bar can show: `denoise 3/27`."""


class Screen:
    """Prints queue updates as they change, and draws a bar for each stage that counts."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}
        self._last = ""
        self._lines = 0

    def show(self, update: fal_client.Status) -> None:
        """Show one answer of the status poll."""
        match update:
            case fal_client.Queued(position=position):
                self._say(f"in the queue, {position} ahead")
            case fal_client.InProgress():
                self._say("in progress")
            case fal_client.Completed(metrics=metrics):
                self._say(f"completed in {metrics.get('inference_time')} s")
        # Each poll brings all lines so far.
        lines = getattr(update, "logs", None) or []
        for line in lines[self._lines :]:
            self._log(line["message"])
        self._lines = max(self._lines, len(lines))

    def _say(self, text: str) -> None:
        if text != self._last:
            self._progress.print(text)
        self._last = text

    def _log(self, message: str) -> None:
        step = STEP.fullmatch(message)
        if step is None:
            self._progress.print(f"  {message}")
            return
        name, done, total = step[1], int(step[2]), int(step[3])
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._bars[name], completed=done)


def make_video(prompt: str, output: Path, **fields: Any) -> dict[str, Any]:
    """Submit *prompt*, show how it goes, store the video and return the response body."""
    with Progress() as progress:
        result: dict[str, Any] = fal_client.subscribe(
            ENDPOINT,
            arguments={"prompt": prompt, **fields},
            with_logs=True,
            on_queue_update=Screen(progress).show,
        )
    with urllib.request.urlopen(result["video"]["url"]) as answer:
        output.write_bytes(answer.read())
    return result


def main() -> None:
    """Read the command line: a prompt, a file, and any of the endpoint's fields."""
    parser = argparse.ArgumentParser(description="Text to video, with fal's own client.")
    parser.add_argument("prompt")
    parser.add_argument("output", type=Path)
    parser.add_argument("fields", nargs="*", help="num_frames=49 resolution=480p ...")
    arguments = parser.parse_args()
    fields = dict(field.split("=", 1) for field in arguments.fields)
    result = make_video(arguments.prompt, arguments.output, **fields)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
