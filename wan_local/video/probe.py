"""What a video file says of itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import av

from wan_local.errors import EncodingFailed
from wan_local.geometry import Size


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video file says of itself."""

    size: Size
    fps: float
    num_frames: int
    codec: str
    pixel_format: str
    colours: tuple[int, int, int, int]
    """Range, primaries, transfer and matrix as H.273 numbers; BT.709 in video range: 1 1 1 1."""
    faststart: bool
    """Whether an MP4 or MOV can be played before the whole of it is there."""


def probe(path: Path) -> VideoInfo:
    """Read what the video at *path* says of itself, without decoding a frame.

    Raises:
        EncodingFailed: If it is not a video.
    """
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            codec = stream.codec_context
            rate = float(stream.average_rate or 0)
            boxes = _boxes(path)
            return VideoInfo(
                size=Size(codec.width, codec.height),
                fps=rate,
                # Matroska does not count them, but knows how long they last.
                num_frames=stream.frames or round((container.duration or 0) / av.time_base * rate),
                codec=codec.name,
                pixel_format=codec.pix_fmt or "",
                colours=(
                    int(codec.color_range),
                    int(codec.color_primaries),
                    int(codec.color_trc),
                    int(codec.colorspace),
                ),
                faststart="moov" in boxes and boxes.index("moov") < boxes.index("mdat"),
            )
    except (av.FFmpegError, IndexError, ValueError) as error:
        msg = f"{path} is not a video: {error}"
        raise EncodingFailed(msg) from error


def _boxes(path: Path) -> list[str]:
    """Return the names of the file's outermost boxes (ISO 14496-12), in order."""
    names = []
    with path.open("rb") as file:
        while len(head := file.read(16)) >= 8:
            length, name = int.from_bytes(head[:4]), head[4:8].decode("latin-1")
            names.append(name)
            if length == 1:  # a length of 64 bits follows
                length = int.from_bytes(head[8:16])
            if length < 8:  # 0: to the end of the file
                break
            file.seek(length - len(head), os.SEEK_CUR)
    return names
