"""What ffmpeg is told for each kind of file.

To add a format that ffmpeg writes: a name and an ending in `wan_local/plan.py`, a row in `CODECS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from wan_local.geometry import Size
from wan_local.plan import EncodingSpec, Quality, VideoFormat, WriteMode

# x264's scale, where 6 more halve the size; 18 is what its authors call visually lossless.
CRF: dict[Quality, int] = {"low": 28, "medium": 23, "high": 18, "maximum": 12}
# x265 counts five higher for a like picture: its default is 28 where x264's is 23.
CRF_265: dict[Quality, int] = {quality: crf + 5 for quality, crf in CRF.items()}
# The last is not `veryslow`, which took some eight times as long as `medium` on 81 noisy 720p
# frames and made no smaller file.
PRESET: dict[WriteMode, str] = {"fast": "veryfast", "balanced": "medium", "small": "slow"}
PRESET_NVENC: dict[WriteMode, str] = {"fast": "p2", "balanced": "p5", "small": "p7"}

# Without this, ffmpeg converts with the matrix of standard definition and tags nothing, and
# players guess: colour bars came back up to 25 levels off; with it, 1.
COLOURS = (
    "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int,"
    "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
)
# For files that keep red, green and blue.
COLOURS_RGB = "setparams=color_primaries=bt709:color_trc=bt709:range=pc"

MP4 = ("-movflags", "+faststart", "-f", "mp4")
# With QuickTime's own keys: its older user data holds no comment of more than 64 KiB.
MOV = ("-movflags", "+faststart+use_metadata_tags", "-f", "mov")


@dataclass(frozen=True, slots=True)
class Codec:
    """One row: how ffmpeg writes one format."""

    arguments: Callable[[EncodingSpec], list[str]]
    """Encoder, its effort and its pixel format."""
    container: tuple[str, ...]
    colours: str = COLOURS
    white: int = 65280
    """The level of white in the frames that come to it. ffmpeg takes 255 × 256 of 16 bits for it
    when it makes brightness and colour of them, and not 65535: with that, white was 0.9 of an
    8-bit level too bright."""
    intra: bool = True
    """Whether each frame stands alone; otherwise there is a key frame every two seconds."""


def _h264(spec: EncodingSpec) -> list[str]:
    if spec.encoder == "nvenc":
        return [*_nvenc("h264_nvenc", CRF, spec), "-profile:v", "high", "-pix_fmt", "yuv420p"]
    effort = ["-crf", str(CRF[spec.quality]), "-preset", PRESET[spec.write_mode]]
    return ["-c:v", "libx264", *effort, "-profile:v", "high", "-pix_fmt", "yuv420p", "-bf", "2"]


def _hevc10(spec: EncodingSpec) -> list[str]:
    # hvc1 and not hev1: Apple's players open no other.
    tag = ["-tag:v", "hvc1"]
    if spec.encoder == "nvenc":
        depth = ["-profile:v", "main10", "-pix_fmt", "p010le"]
        return [*_nvenc("hevc_nvenc", CRF_265, spec), *depth, *tag]
    effort = ["-crf", str(CRF_265[spec.quality]), "-preset", PRESET[spec.write_mode]]
    depth = ["-profile:v", "main10", "-pix_fmt", "yuv420p10le"]
    return ["-c:v", "libx265", *effort, *depth, "-x265-params", "log-level=error", *tag]


def _nvenc(name: str, crf: dict[Quality, int], spec: EncodingSpec) -> list[str]:
    quality = ["-rc", "vbr", "-cq", str(crf[spec.quality] + 1), "-b:v", "0", "-spatial-aq", "1"]
    return ["-c:v", name, "-preset", PRESET_NVENC[spec.write_mode], "-tune", "hq", *quality]


def _prores(profile: str, pixels: str) -> Callable[[EncodingSpec], list[str]]:
    def arguments(_: EncodingSpec) -> list[str]:
        # The vendor's mark of Apple's own encoder: some editors open nothing else as ProRes.
        codec = ["-c:v", "prores_ks", "-profile:v", profile, "-vendor", "apl0"]
        return [*codec, "-pix_fmt", pixels]

    return arguments


def _dnxhr(_: EncodingSpec) -> list[str]:
    return ["-c:v", "dnxhd", "-profile:v", "dnxhr_hqx", "-pix_fmt", "yuv422p10le"]


def _ffv1(_: EncodingSpec) -> list[str]:
    # Version 3 with checksums is what archives ask for; 16 bits keep what the pipe brings.
    return ["-c:v", "ffv1", "-level", "3", "-slicecrc", "1", "-pix_fmt", "rgb48le"]


CODECS: dict[VideoFormat, Codec] = {
    "h264": Codec(_h264, MP4, white=255, intra=False),
    "hevc10": Codec(_hevc10, MP4, intra=False),
    "prores422": Codec(_prores("hq", "yuv422p10le"), MOV),
    "prores4444": Codec(_prores("4444", "yuv444p10le"), MOV),
    "dnxhr": Codec(_dnxhr, MOV),
    "ffv1": Codec(_ffv1, ("-f", "matroska"), colours=COLOURS_RGB, white=65535),
}


def white_of(format: VideoFormat) -> int:
    """Return the level of white in the frames for *format*: 8 bits a channel up to 255, or 16."""
    if format in CODECS:
        return CODECS[format].white
    return 255 if format == "png8" else 65535


def ffmpeg_arguments(
    size: Size, fps: float, encoding: EncodingSpec, *, metadata: Path | None = None
) -> list[str]:
    """Return everything of the ffmpeg command but the program and the output's name.

    The frame size is kept exactly; nothing is scaled to a multiple of 16. *metadata* is a file in
    ffmpeg's own format: as arguments, prompts would stand in every list of processes.
    """
    codec = CODECS[encoding.format]
    rate = Fraction(fps).limit_denominator(1001)
    pixels = "rgb48le" if codec.white > 255 else "rgb24"
    source = ["-f", "rawvideo", "-pix_fmt", pixels, "-s", f"{size.width}x{size.height}"]
    tags = ["-f", "ffmetadata", "-i", str(metadata), "-map_metadata", "1"] if metadata else []
    # A key frame every two seconds, so that seeking is quick.
    keys = [] if codec.intra else ["-g", str(round(2 * rate))]
    return [
        *["-hide_banner", "-loglevel", "error", "-nostdin", "-y"],
        *[*source, "-r", str(rate), "-i", "pipe:0", *tags, "-map", "0:v"],
        *["-an", "-vf", codec.colours, *codec.arguments(encoding), *keys],
        *codec.container,
    ]
