"""Does the GPU's own video encoder work here? Found out by using it, never assumed.

ffmpeg lists its NVENC encoders on every machine; an A100 or H100 has none, a laptop's driver may
be too old, and consumer cards limit how many videos they encode at once.
"""

from __future__ import annotations

import functools
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import imageio_ffmpeg  # type: ignore[import-untyped]

from wan_local.geometry import Size
from wan_local.plan import EncodingSpec, VideoFormat
from wan_local.video.formats import ffmpeg_arguments, white_of

TRIAL = Size(256, 256)
SMALLEST = Size(160, 64)  # NVENC refuses pictures of less than about 145×49
PATIENCE = 30.0  # seconds for two frames; a first use of the driver takes a few
HARDWARE: tuple[VideoFormat, ...] = ("h264", "hevc10")


def settled(encoding: EncodingSpec, size: Size) -> tuple[EncodingSpec, str | None]:
    """Return how frames of *size* are really encoded, and a sentence if that is not as asked."""
    if encoding.encoder == "software" or encoding.format not in HARDWARE:
        return replace(encoding, encoder="software"), None
    reason: str | None = f"{size} is too small for it"
    if size.width >= SMALLEST.width and size.height >= SMALLEST.height:
        reason = refusal(encoding.format, imageio_ffmpeg.get_ffmpeg_exe())
    if reason is None:
        return encoding, None
    sentence = f"NVENC was asked for and the CPU encodes: {reason}"
    return replace(encoding, encoder="software"), sentence


@functools.cache
def refusal(format: VideoFormat, ffmpeg: str) -> str | None:
    """Encode two frames of *format* with NVENC; return ffmpeg's reason if that fails.

    Once per process: the answer does not change while it lives.
    """
    frames = bytes(2 * TRIAL.width * TRIAL.height * 3 * (2 if white_of(format) > 255 else 1))
    with tempfile.TemporaryDirectory(prefix="wan-local-nvenc-") as folder:
        output = Path(folder) / "trial.mp4"
        arguments = ffmpeg_arguments(TRIAL, 16, EncodingSpec(format=format, encoder="nvenc"))
        try:
            ended = subprocess.run(
                [ffmpeg, *arguments, str(output)],
                input=frames,
                capture_output=True,
                timeout=PATIENCE,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        if ended.returncode == 0 and output.exists() and output.stat().st_size > 0:
            return None
    # The first line is the driver's or the encoder's; the rest is what failed because of it.
    words = ended.stderr.decode(errors="replace").strip().splitlines()
    return words[0] if words else f"ffmpeg ended with status {ended.returncode}"
