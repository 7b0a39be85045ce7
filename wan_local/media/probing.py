"""Looks at a file that came with a request."""

from __future__ import annotations

from pathlib import Path

from wan_local.media.conversation import Conversation
from wan_local.media.info import MediaInfo, MediaKind, MediaLimits


def probe_media(
    path: Path, kind: MediaKind | None = None, limits: MediaLimits | None = None
) -> MediaInfo:
    """Return what the file at *path* is.

    A picture is decoded whole; of a video the stamps of all frames are read and the first frame is
    decoded.

    Args:
        path: The file. Its name counts for nothing.
        kind: What it has to be; by default whatever it is. A GIF is either.
        limits: What is too much.

    Raises:
        BadMedia: If it is neither, damaged, or too much.
    """
    with Conversation(path, limits or MediaLimits(), kind=kind) as conversation:
        info = conversation.info()
        conversation.end()
        return info
