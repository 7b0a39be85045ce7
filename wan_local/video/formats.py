"""What ffmpeg is told for each kind of file."""

from __future__ import annotations

from fractions import Fraction

from wan_local.geometry import Size
from wan_local.plan import EncodingSpec, Quality, WriteMode

# x264's scale, where 6 more halve the size; 18 is what its authors call visually lossless.
CRF: dict[Quality, int] = {"low": 28, "medium": 23, "high": 18, "maximum": 12}
# The last is not `veryslow`, which took some eight times as long as `medium` on 81 noisy 720p
# frames and made no smaller file.
PRESET: dict[WriteMode, str] = {"fast": "veryfast", "balanced": "medium", "small": "slow"}

# Without this, ffmpeg converts with the matrix of standard definition and tags nothing, and
# players guess: colour bars came back up to 25 levels off; with it, 1.
COLOURS = (
    "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int,"
    "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
)


def ffmpeg_arguments(size: Size, fps: float, encoding: EncodingSpec) -> list[str]:
    """Return everything of the ffmpeg command but the program and the output's name.

    The frame size is kept exactly; nothing is scaled to a multiple of 16.
    """
    rate = Fraction(fps).limit_denominator(1001)
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size.width}x{size.height}"]
    quality = ["-crf", str(CRF[encoding.quality]), "-preset", PRESET[encoding.write_mode]]
    # A key frame every two seconds, so that seeking is quick.
    stream = ["-profile:v", "high", "-pix_fmt", "yuv420p", "-bf", "2", "-g", str(round(2 * rate))]
    return [
        *["-hide_banner", "-loglevel", "error", "-nostdin", "-y"],
        *[*source, "-r", str(rate), "-i", "pipe:0"],
        *["-an", "-vf", COLOURS, "-c:v", "libx264", *quality, *stream],
        *["-movflags", "+faststart", "-f", "mp4"],
    ]
