"""A stream of frames -> a video file, through a pipe to ffmpeg.

ffmpeg is a process of its own: it encodes while the GPU decodes, it can be killed at any moment,
and a crash of it is an error message here.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import imageio_ffmpeg  # type: ignore[import-untyped]

from wan_local.errors import EncodingFailed
from wan_local.geometry import Size
from wan_local.plan import EncodingSpec
from wan_local.tensors import Frames
from wan_local.video.formats import ffmpeg_arguments

CHUNKS_WAITING = 2
LAST_WORDS = 500  # characters of ffmpeg's stderr that go into an error message


class VideoWriter:
    """Writes one MP4; use it in a `with`.

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
        ffmpeg: str | None = None,
    ) -> None:
        """Write to *output*; *ffmpeg* is the one that imageio-ffmpeg brings, by default."""
        if size.width % 2 or size.height % 2:
            msg = f"H.264 with halved colour planes needs an even width and height, got {size}"
            raise EncodingFailed(msg)
        self._output = output
        self._part = output.with_name(f"{output.name}.part")
        self._command = [
            ffmpeg or imageio_ffmpeg.get_ffmpeg_exe(),
            *ffmpeg_arguments(size, fps, encoding),
            str(self._part),
        ]
        self._chunks: queue.Queue[Frames | None] = queue.Queue(CHUNKS_WAITING)
        self._refused = threading.Event()
        self._ended = False

    def __enter__(self) -> Self:
        # A file, not a pipe: nobody has to drain it, so ffmpeg can never block on its complaints.
        self._errors: IO[bytes] = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
            )
        except OSError as error:
            self._errors.close()
            msg = f"ffmpeg could not be started: {error}"
            raise EncodingFailed(msg) from error
        # The pipe holds a fraction of a frame; without a thread, the GPU would wait for x264.
        self._feeder = threading.Thread(target=self._feed, name="ffmpeg feeder", daemon=True)
        self._feeder.start()
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
            self._end_stream()
            self._feeder.join()
            self._errors.close()
            self._part.unlink(missing_ok=True)

    def write(self, frames: Frames, *, within: float | None = None) -> bool:
        """Hand *frames* over; return whether they were taken *within* so many seconds.

        Waits while two earlier chunks are still on their way, for ever if need be by default.
        """
        if self._refused.is_set():
            raise self._failure()
        try:
            self._chunks.put(frames, timeout=within)
        except queue.Full:
            return False
        return True

    def finished(self, *, within: float) -> bool:
        """Say that there are no more frames, and whether ffmpeg is done *within* so many seconds.

        Asked repeatedly, it lets the caller go on listening while ffmpeg works off its backlog.
        """
        self._end_stream()
        try:
            self._process.wait(within)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _complete(self) -> None:
        self._end_stream()
        if self._process.wait() != 0 or self._refused.is_set():
            raise self._failure()
        with self._part.open("rb") as file:
            os.fsync(file.fileno())
        self._part.replace(self._output)
        folder = os.open(self._output.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _end_stream(self) -> None:
        if not self._ended:
            self._ended = True
            self._chunks.put(None)

    def _feed(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None  # noqa: S101 - asked for in __enter__
        while (frames := self._chunks.get()) is not None:
            if self._refused.is_set():
                continue  # taken off the queue all the same, so that `write` never blocks
            try:
                pipe.write(frames.numpy().data)
            except OSError:  # ffmpeg has ended; why is in its own words
                self._refused.set()
        with contextlib.suppress(OSError):
            pipe.close()

    def _failure(self) -> EncodingFailed:
        code = self._process.wait()
        self._errors.seek(0)
        words = self._errors.read().decode(errors="replace").strip()[-LAST_WORDS:]
        said = " ".join(words.split()) or f"it ended with status {code} and said nothing"
        return EncodingFailed(f"ffmpeg could not write the video: {said}")
