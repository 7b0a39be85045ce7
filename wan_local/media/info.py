"""What a picture or a video is, and how much of it is taken."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLimits:
    """What is too much, for the file and for the process that decodes it."""

    image_pixels: int = 64_000_000
    video_pixels: int = 40_000_000
    """Of one frame; 8K has 33 million."""
    duration: float = 600.0
    """Seconds of a video."""
    fps: float = 240.0
    """Frames a second of a video, on average."""
    memory_bytes: int = 2 * 2**30
    """Address space of the process, libraries included."""
    cpu_seconds: int = 60
    """Computing time of the process."""
    silence: float = 30.0
    """Seconds in which something must come from it, once it is being listened to."""

    @property
    def frames(self) -> int:
        """Frames that a video within the other limits can have."""
        return round(self.duration * self.fps)
