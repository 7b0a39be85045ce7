"""Reads the pixels of a file that came with a request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from wan_local.errors import BadMedia
from wan_local.geometry import Size
from wan_local.media.conversation import Conversation
from wan_local.media.info import MediaLimits

Pixels: TypeAlias = npt.NDArray[np.uint8]
"""[height, width, 3], red, green, blue."""


def read_picture(path: Path, limits: MediaLimits | None = None) -> Pixels:
    """Return the picture at *path*: upright, in sRGB, its transparent parts white.

    Of an animation it is the first frame.

    Raises:
        BadMedia: If it is not one, damaged, or too large.
    """
    with Conversation(path, limits or MediaLimits(), kind="image", frames=True) as conversation:
        size = conversation.info().size
        for frame in conversation.frames(size):
            return _pixels(frame, size)
    msg = "The image cannot be decoded"
    raise BadMedia(msg)


def read_video(
    path: Path,
    *,
    fps: float | None = None,
    num_frames: int | None = None,
    limits: MediaLimits | None = None,
) -> Iterator[Pixels]:
    """Yield the frames of the video at *path*: upright, in full-range RGB, at a constant rate.

    Frame k is what a viewer sees after k/*fps* seconds. A video that breaks off is read as far as
    it goes. Closing the generator ends the process that decodes.

    Args:
        path: The file.
        fps: Frames a second; by default the file's own rate on average.
        num_frames: Frames at most; a shorter video gives fewer.
        limits: What is too much.

    Raises:
        BadMedia: If it is not one, has no frame that can be decoded, or is too large or too long.
    """
    with Conversation(
        path,
        limits or MediaLimits(),
        kind="video",
        frames=True,
        fps=fps,
        num_frames=num_frames,
    ) as conversation:
        size = conversation.info().size
        for frame in conversation.frames(size):
            yield _pixels(frame, size)


def _pixels(frame: bytearray, size: Size) -> Pixels:
    return np.frombuffer(frame, np.uint8).reshape(size.height, size.width, 3)
