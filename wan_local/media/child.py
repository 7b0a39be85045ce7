"""Decodes one file that came with a request: a process of its own, started by `conversation.py`.

Whatever a hostile file does to a decoder, it does here: memory, computing time and open files are
capped before its first byte is parsed. Once the file is open nothing else can be opened, neither
file nor socket, so that a playlist or a document that refers to others reaches nothing.

It talks through its standard output: one byte says what comes, `I` the file's description or `R` a
refusal (a line of JSON each), `F` one RGB frame, `E` the end.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from wan_local.media.pictures import PICTURE_NAMES, cap_pictures, is_picture, open_picture
from wan_local.media.refusal import Refusal
from wan_local.media.videos import VIDEO_NAMES, Video, cap_videos, video_container

HEAD_BYTES = 64


class Output:
    """The pipe to whoever asked."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe

    def describe(self, size: tuple[int, int], **more: Any) -> None:
        """Say what the file is."""
        self._line(b"I", {"size": {"width": size[0], "height": size[1]}, **more})

    def frame(self, image: Image.Image) -> None:
        """Send one picture, of the size that was described."""
        self._pipe.write(b"F")
        self._pipe.write(image.tobytes())

    def refuse(self, refusal: Refusal) -> None:
        """Say why nothing, or nothing more, will come."""
        values = {"type": refusal.type, "message": str(refusal), "ctx": refusal.ctx}
        self._line(b"R", values)

    def end(self) -> None:
        """Say that this was all."""
        self._pipe.write(b"E")
        self._pipe.flush()

    def _line(self, tag: bytes, values: dict[str, Any]) -> None:
        self._pipe.write(tag + json.dumps(values).encode() + b"\n")
        self._pipe.flush()


def main() -> None:
    """Carry out the request that is the first argument."""
    # A pipe of our own: what a library prints must not end up between two frames.
    output = Output(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    request = json.loads(sys.argv[1])
    with Path(request["path"]).open("rb") as file:
        answer(file, request, output, restrict=lambda: restrict(request["limits"]))


def answer(
    file: BinaryIO, request: dict[str, Any], output: Output, *, restrict: Callable[[], None]
) -> None:
    """Say what *request* asks about *file*, after a call of *restrict*."""
    try:
        head = file.read(HEAD_BYTES)
        file.seek(0)
        restrict()
        if _kind(head, request["kind"]) == "image":
            _show_picture(file, request, output)
        else:
            _show_video(file, head, request, output)
    except Refusal as refusal:
        output.refuse(refusal)
    except MemoryError:
        output.refuse(Refusal("The file needs too much memory to be decoded", type="value_error"))


def restrict(limits: dict[str, Any]) -> None:
    """Cap this process; it cannot open or write a file from here on."""
    caps = {
        resource.RLIMIT_AS: limits["memory_bytes"],
        resource.RLIMIT_NOFILE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    cap_pictures(limits)
    cap_videos()
    for limit, value in caps.items():
        resource.setrlimit(limit, (value, value))
    # At the first of the two a signal that says why, at the second the end.
    seconds = limits["cpu_seconds"]
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))


def _kind(head: bytes, wanted: str | None) -> str:
    """Return whether to read the file as a picture or as a video, by its first bytes.

    A GIF is both: a picture unless a video is *wanted*.
    """
    fits = {"image": is_picture(head), "video": video_container(head) is not None}
    kinds = [kind for kind in ("image", "video") if fits[kind]]
    if wanted in kinds or (kinds and wanted is None):
        return wanted or kinds[0]
    if wanted == "video":
        msg = "The file is not a video of a supported format"
        raise Refusal(msg, type="unsupported_video_format", supported_formats=VIDEO_NAMES)
    msg = "The file is not an image of a supported format"
    raise Refusal(msg, type="unsupported_image_format", supported_formats=PICTURE_NAMES)


def _show_picture(file: BinaryIO, request: dict[str, Any], output: Output) -> None:
    # Decoded even if only its description is wanted: a picture that breaks off should be refused
    # before a GPU is taken for it.
    picture = open_picture(file, request["limits"])
    output.describe(picture.size, kind="image", num_frames=1, fps=None, duration=None)
    if request["frames"]:
        output.frame(picture)
    output.end()


def _show_video(file: BinaryIO, head: bytes, request: dict[str, Any], output: Output) -> None:
    with Video(file, video_container(head) or "", request["limits"]) as video:
        line = video.timeline
        output.describe(
            video.size,
            kind="video",
            num_frames=line.num_frames,
            fps=line.fps,
            duration=line.duration,
        )
        if request["frames"]:
            for picture in video.pictures(request["fps"], request["num_frames"]):
                output.frame(picture)
    output.end()


if __name__ == "__main__":
    main()
