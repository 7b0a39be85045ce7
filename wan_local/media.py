"""Pictures and videos that come with a request: what they are.

Free of torch: the server looks at a file before a GPU is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wan_local.geometry import Size

MediaKind = Literal["image", "video"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaInfo:
    """What a picture or a video is, as a viewer sees it."""

    kind: MediaKind
    size: Size
    """Upright: EXIF orientation and a video's rotation are applied."""
    num_frames: int = 1
    fps: float | None = None
    """Frames a second on average; None for a picture."""
    duration: float | None = None
    """Seconds; None for a picture."""
