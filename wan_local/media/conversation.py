"""Our side of the talk with the process that decodes: starts it, listens, ends it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from wan_local.errors import BadMedia, InvalidPlan
from wan_local.geometry import Size
from wan_local.media.info import MediaInfo, MediaKind, MediaLimits

_LONGEST_LINE = 10_000  # bytes
_DAMAGED = "The file cannot be decoded: it is damaged"
_KINDS: dict[Any, MediaKind] = {"image": "image", "video": "video"}


class Conversation:
    """A question about one file, and the answer as it comes; a `with` ends the process.

    Raises:
        BadMedia: From any method, if the file is not taken.
    """

    def __init__(
        self,
        path: Path,
        limits: MediaLimits,
        *,
        kind: MediaKind | None = None,
        frames: bool = False,
        fps: float | None = None,
        num_frames: int | None = None,
    ) -> None:
        """Ask about *path*.

        Args:
            path: The file.
            limits: What is too much.
            kind: What it has to be; by default whatever it is.
            frames: Whether its frames are wanted.
            fps: Rate of the frames; a video's own by default.
            num_frames: Frames at most.
        """
        self._limits = limits
        request = {
            "path": str(path.absolute()),
            "kind": kind,
            "frames": frames,
            "fps": fps,
            "num_frames": num_frames,
            "limits": asdict(limits) | {"frames": limits.frames},
        }
        self._command = [sys.executable, "-m", "wan_local.media.child", json.dumps(request)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        if self._process.stdout is None:
            raise BadMedia
        self._pipe = self._process.stdout
        self._poll = select.poll()
        self._poll.register(self._pipe, select.POLLIN)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()  # nothing happens if it has ended
        self._process.wait()
        self._pipe.close()

    def info(self) -> MediaInfo:
        """Return what the file is: the first thing that is said."""
        self._expect(b"I")
        return described(self._line(), self._limits)

    def frames(self, size: Size) -> Iterator[bytearray]:
        """Yield the frames, width × height × 3 bytes each."""
        while self._expect(b"F", b"E") == b"F":
            yield self._read(size.width * size.height * 3)

    def end(self) -> None:
        """Wait for the word that this was all."""
        self._expect(b"E")

    def _expect(self, *tags: bytes) -> bytes:
        tag = bytes(self._read(1))
        if tag == b"R":
            raise refused(self._line())
        if tag not in tags:
            raise self._broken()
        return tag

    def _line(self) -> dict[str, Any]:
        line = bytearray()
        while not line.endswith(b"\n"):
            line += self._read(1)
            if len(line) > _LONGEST_LINE:
                raise self._broken()
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadMedia(_DAMAGED, type="value_error") from error
        if not isinstance(values, dict):
            raise BadMedia(_DAMAGED, type="value_error")
        return values

    def _read(self, size: int) -> bytearray:
        """Return *size* bytes."""
        data = bytearray(size)
        rest = memoryview(data)
        while rest:
            if not self._poll.poll(self._limits.silence * 1000):
                msg = f"The file could not be decoded within {self._limits.silence:.0f} seconds"
                raise BadMedia(msg, type="value_error")
            count = os.readv(self._pipe.fileno(), [rest])
            if not count:
                raise self._broken()
            rest = rest[count:]
        return data

    def _broken(self) -> BadMedia:
        """Return why the process ended in the middle of a sentence."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)  # its last words are read before its death is known
        if self._process.returncode == -signal.SIGXCPU:
            msg = f"The file takes more than {self._limits.cpu_seconds} seconds to decode"
            return BadMedia(msg, type="value_error")
        return BadMedia(_DAMAGED, type="value_error")


def described(values: dict[str, Any], limits: MediaLimits) -> MediaInfo:
    """Return the description that a process gave of a file.

    Raises:
        BadMedia: If no file within *limits* is like that. A decoder that a file has taken over says
            what the file wants, and room for a frame is made by what it says.
    """
    try:
        size = Size(_whole(values["size"]["width"]), _whole(values["size"]["height"]))
        info = MediaInfo(
            kind=_KINDS[values["kind"]],
            size=size,
            num_frames=_whole(values["num_frames"]),
            fps=_measured(values.get("fps")),
            duration=_measured(values.get("duration")),
        )
    except (KeyError, TypeError, ValueError, InvalidPlan) as error:
        raise BadMedia(_DAMAGED, type="value_error") from error
    pixels = size.width * size.height
    if pixels > max(limits.image_pixels, limits.video_pixels) or info.num_frames > limits.frames:
        raise BadMedia(_DAMAGED, type="value_error")
    return info


def refused(values: dict[str, Any]) -> BadMedia:
    """Return the error that a process said; as little believed as what it says of a file."""
    message, type, ctx = (values.get(name) for name in ("message", "type", "ctx"))
    if isinstance(message, str) and isinstance(type, str) and isinstance(ctx, dict | None):
        return BadMedia(message, type=type, ctx=ctx)
    return BadMedia(_DAMAGED, type="value_error")


def _whole(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(value)
    return value


def _measured(value: Any) -> float | None:
    if value is None:
        return None
    if type(value) not in {int, float} or not 0 <= value < math.inf:
        raise ValueError(value)
    return float(value)
