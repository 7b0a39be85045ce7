"""Picture and video files for tests, made on the spot."""

from __future__ import annotations

import io
import struct
import subprocess
import zlib
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
from PIL import Image


def picture(path: Path, size=(48, 32), colour=(200, 40, 90), **options) -> Path:
    """Write one colour; the name's ending says in which format."""
    Image.new("RGB", size, colour).save(path, **options)
    return path


def png_of_zeros(width: int, height: int) -> bytes:
    """Return a PNG of one bit a pixel: some kilobytes, whatever its size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    ends = chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(ends)


def grey(number: int) -> int:
    """Return the brightness of frame *number* in the videos below: every frame has its own."""
    return 10 + 8 * number


def video(
    path: Path,
    num_frames: int = 12,
    *,
    fps: int = 16,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    format: str = "yuv420p",
    stamps: list[int] | None = None,
    **options: str,
) -> Path:
    """Write frames of rising brightness, at *stamps* of 1/fps seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, format
        stream.codec_context.time_base = Fraction(1, fps)
        for number, stamp in enumerate(stamps or range(num_frames)):
            pixels = np.full((size[1], size[0], 3), grey(number) % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=format)
            frame.pts, frame.time_base = stamp, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def brightness(frames) -> list[int]:
    """Return which frame of `video` each of *frames* is."""
    return [round((float(np.asarray(frame).mean()) - 10) / 8) for frame in frames]


def ffmpeg(*arguments: str | Path) -> None:
    """Run the ffmpeg that we ship."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)


def in_memory(image: Image.Image, format: str, **options) -> io.BytesIO:
    """Return *image* as an open file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    file.seek(0)
    return file
