"""A stream of frames -> a zip of numbered pictures: PNG of 8 or 16 bits, or EXR.

Also what `return_frames_zip` of the Animate endpoints needs: a `SequenceWriter` for `png8` takes
the same chunks as the video's writer does.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from wan_local.errors import EncodingFailed
from wan_local.geometry import Size
from wan_local.plan import EncodingSpec, VideoFormat, WriteMode
from wan_local.tensors import Frames
from wan_local.video.belt import Belt
from wan_local.video.exr import encode_exr
from wan_local.video.png import encode_png
from wan_local.video.writer import put_in_place

SEQUENCES: dict[VideoFormat, str] = {"png8": "png", "png16": "png", "exr": "exr"}
"""Formats that are zips, and what the pictures' names end in."""
LEVEL: dict[WriteMode, int] = {"fast": 1, "balanced": 4, "small": 9}  # zlib's, for PNG
AT_ONCE = 4  # a chunk's pictures; zlib works without the interpreter's lock
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # a zip's earliest date: the same frames are the same file


class SequenceWriter:
    """Writes one zip; use it in a `with`, like a `VideoWriter`.

    Pictures are stored as they are: they are compressed already. The first entry,
    `metadata.json`, says what they are.

    Raises:
        EncodingFailed: From any method, if the disk is full.
    """

    def __init__(
        self,
        output: Path,
        size: Size,
        *,
        fps: float,
        encoding: EncodingSpec,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self._output = output
        self._part = output.with_name(f"{output.name}.part")
        self._encoding = encoding
        self._fps = fps
        self._about = {"width": size.width, "height": size.height, "fps": fps, **(metadata or {})}
        self._written = 0

    def __enter__(self) -> Self:
        try:
            self._zip = zipfile.ZipFile(self._part, "w")
            self._store("metadata.json", json.dumps(self._about, indent=2).encode())
        except OSError as error:
            raise _failure(error) from error
        self._pool = ThreadPoolExecutor(AT_ONCE, "picture")
        self._belt = Belt("zip feeder", self._feed)
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
            self._belt.drop()
            self._pool.shutdown()
            self._close()
            self._part.unlink(missing_ok=True)

    def write(self, frames: Frames, *, within: float | None = None) -> bool:
        """Hand *frames* over; return whether they were taken *within* so many seconds."""
        if self._belt.error is not None:
            raise _failure(self._belt.error)
        return self._belt.put(frames, within=within)

    def finished(self, *, within: float) -> bool:
        """Say that there are no more frames, and whether all are stored within so many seconds."""
        self._belt.end()
        return self._belt.through(within=within)

    def _complete(self) -> None:
        self._belt.end()
        self._belt.through(within=None)
        if self._belt.error is not None:
            raise _failure(self._belt.error)
        try:
            self._zip.close()
            put_in_place(self._part, self._output)
        except OSError as error:
            raise _failure(error) from error

    def _close(self) -> None:
        """Let go of a zip that will not be kept; a full disk cannot matter any more."""
        try:
            self._zip.close()
        except OSError:
            if self._zip.fp is not None:
                self._zip.fp.close()

    def _feed(self, frames: Frames) -> None:
        for picture in self._pool.map(self._encode, frames.numpy()):
            self._written += 1
            ending = SEQUENCES[self._encoding.format]
            self._store(f"frame.{self._written:04d}.{ending}", picture)

    def _encode(self, frame: np.ndarray) -> bytes:
        if self._encoding.format == "exr":
            return encode_exr(frame, fps=self._fps)
        return encode_png(frame, level=LEVEL[self._encoding.write_mode])

    def _store(self, name: str, content: bytes) -> None:
        self._zip.writestr(zipfile.ZipInfo(name, LONG_AGO), content)


def _failure(error: OSError) -> EncodingFailed:
    return EncodingFailed(f"the frames could not be stored: {error}")
