"""A stream of frames -> a video file, through a pipe to ffmpeg.

ffmpeg is a process of its own: it encodes while the GPU decodes, it can be killed at any moment,
and a crash of it is an error message here.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import imageio_ffmpeg  # type: ignore[import-untyped]

from wan_local.errors import EncodingFailed
from wan_local.geometry import Size
from wan_local.plan import EncodingSpec
from wan_local.tensors import Frames
from wan_local.video.belt import Belt
from wan_local.video.formats import ffmpeg_arguments

LAST_WORDS = 500  # characters of ffmpeg's stderr that go into an error message


class VideoWriter:
    """Writes one video; use it in a `with`.

    The file appears under its name when the block ends, whole and synced. If the block ends by an
    exception, or by the closing of the generator it stands in, ffmpeg is killed, and no file is
    left.

    Raises:
        EncodingFailed: From any method, with ffmpeg's last words.
    """

    def __init__(
        self,
        output: Path,
        size: Size,
        *,
        fps: float,
        encoding: EncodingSpec,
        metadata: Mapping[str, str] | None = None,
        ffmpeg: str | None = None,
    ) -> None:
        """Write to *output*; *ffmpeg* is the one that imageio-ffmpeg brings, by default.

        *metadata* is what the file says of itself: tags of its container, such as `comment`.
        """
        if (size.width % 2 or size.height % 2) and encoding.format != "ffv1":
            msg = f"halved colour planes need an even width and height, got {size}"
            raise EncodingFailed(msg)
        self._output = output
        self._part = output.with_name(f"{output.name}.part")
        self._metadata = metadata or {}
        self._tags = output.with_name(f"{output.name}.tags")
        self._command = [
            ffmpeg or imageio_ffmpeg.get_ffmpeg_exe(),
            *ffmpeg_arguments(size, fps, encoding, metadata=self._tags if metadata else None),
            str(self._part),
        ]

    def __enter__(self) -> Self:
        # A file, not a pipe: nobody has to drain it, so ffmpeg can never block on its complaints.
        self._errors: IO[bytes] = tempfile.TemporaryFile()
        try:
            if self._metadata:
                self._tags.write_text(as_ffmetadata(self._metadata), encoding="utf-8")
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
            )
        except OSError as error:
            self._errors.close()
            self._tags.unlink(missing_ok=True)
            msg = f"ffmpeg could not be started: {error}"
            raise EncodingFailed(msg) from error
        # The pipe holds a fraction of a frame; without a thread, the GPU would wait for x264.
        self._belt = Belt("ffmpeg feeder", self._feed)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._complete()
        finally:
            self._process.kill()  # nothing happens if it has ended
            self._process.wait()
            self._belt.drop()
            with contextlib.suppress(OSError):  # the last bytes of a broken pipe
                self._pipe.close()
            self._errors.close()
            self._part.unlink(missing_ok=True)
            self._tags.unlink(missing_ok=True)

    def write(self, frames: Frames, *, within: float | None = None) -> bool:
        """Hand *frames* over; return whether they were taken *within* so many seconds.

        Waits while two earlier chunks are still on their way, for ever if need be by default.
        """
        if self._belt.broken:
            raise self._failure()
        return self._belt.put(frames, within=within)

    def finished(self, *, within: float) -> bool:
        """Say that there are no more frames, and whether ffmpeg is done *within* so many seconds.

        Asked repeatedly, it lets the caller go on listening while ffmpeg works off its backlog.
        """
        self._belt.end()
        if not self._belt.through(within=within):
            return False
        self._end_pipe()
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _complete(self) -> None:
        self._belt.end()
        self._belt.through(within=None)
        self._end_pipe()
        if self._process.wait() != 0 or self._belt.error is not None:
            raise self._failure()
        put_in_place(self._part, self._output)

    @property
    def _pipe(self) -> IO[bytes]:
        pipe = self._process.stdin
        assert pipe is not None  # noqa: S101 - asked for in __enter__
        return pipe

    def _feed(self, frames: Frames) -> None:
        self._pipe.write(frames.numpy().data)

    def _end_pipe(self) -> None:
        with contextlib.suppress(OSError):  # ffmpeg has ended; why is in its own words
            self._pipe.close()

    def _failure(self) -> EncodingFailed:
        code = self._process.wait()
        self._errors.seek(0)
        words = self._errors.read().decode(errors="replace").strip()[-LAST_WORDS:]
        said = " ".join(words.split()) or f"it ended with status {code} and said nothing"
        return EncodingFailed(f"ffmpeg could not write the video: {said}")


def put_in_place(part: Path, output: Path) -> None:
    """Give the finished *part* its name, once it is on the disk."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(output)
    folder = os.open(output.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def as_ffmetadata(tags: Mapping[str, str]) -> str:
    """Return *tags* in the format of ffmpeg's metadata files."""
    special = str.maketrans({mark: f"\\{mark}" for mark in "\\=;#\n"})
    lines = [f"{name}={text.translate(special)}" for name, text in tags.items()]
    return "\n".join([";FFMETADATA1", *lines, ""])
