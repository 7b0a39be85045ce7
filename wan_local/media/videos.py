"""A video file -> upright RGB frames at a constant rate, inside the capped process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, Self

import av
import av.logging

# PyAV would look for these when it meets a file with subtitles, and by then nothing can be opened.
import av.subtitles.codeccontext  # noqa: F401
import av.subtitles.stream  # noqa: F401
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream
from PIL import Image

from wan_local.media.pictures import WHITE
from wan_local.media.refusal import Refusal

VIDEO_NAMES = ["mp4", "mov", "m4v", "webm", "mkv", "gif"]

# (offset, what stands there, libavformat's demuxer). The demuxer is named, never guessed, so that
# no playlist, SVG or list of files is ever parsed as one, whatever it is called.
_CONTAINERS = (
    *((4, box, "mov") for box in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")),
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (0, b"GIF8", "gif"),
)
_STILL_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")
# The decoders of all other codecs are out of reach. MagicYUV's, one of FFmpeg's hundreds, wrote
# past its buffer until 8.1.2 (CVE-2026-8461).
_CODECS = (
    "h264", "hevc", "vp8", "vp9", "libvpx-vp9", "av1", "libdav1d",
    "prores", "mpeg4", "mjpeg", "png", "gif",
)  # fmt: skip

# swscale's defaults are for speed; this is how exactly it can interpolate chroma and round.
_SCALING = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_UNSPECIFIED = 2  # the matrix, as H.273 numbers it
_WIDEST_SD, _TALLEST_SD = 1279, 576
_TURNS = {
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_270,
}
_SAME_MOMENT = 1e-6  # seconds


@dataclass(frozen=True, slots=True)
class Timeline:
    """When a video's frames are shown."""

    start: float
    """Seconds at which the first frame is stamped."""
    num_frames: int
    step: float
    """Seconds from one frame to the next, on average."""

    @property
    def fps(self) -> float:
        """Frames a second, on average."""
        return 1 / self.step

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.num_frames * self.step


def video_container(head: bytes) -> str | None:
    """Return the demuxer for a file that begins with *head*, or None if it is not a video."""
    if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS:
        return None
    found = (name for at, magic, name in _CONTAINERS if head[at:].startswith(magic))
    return next(found, None)


def cap_videos() -> None:
    """Keep libav's complaints off our standard error, which nobody reads."""
    av.logging.set_level(None)


class Video:
    """The pictures of one video; use it in a `with`.

    A video that breaks off, or is damaged on the way, is read as far as it goes: a frame that
    cannot be decoded whole is replaced by the one before it. One without a single good frame is
    refused.

    Raises:
        Refusal: From the constructor, if it is not taken.
    """

    def __init__(self, file: BinaryIO, container: str, limits: dict[str, Any]) -> None:
        with _opened(file, container, limits) as measured:
            self.timeline = _measure(measured, limits)
        file.seek(0)
        self._container = _opened(file, container, limits)
        self._frames = _decoded(self._container)
        first = next(self._frames, None)
        if first is None:
            self._container.close()
            raise _unreadable()
        self._first = first
        self._screen = _Screen(first[1], limits)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._container.close()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of its pictures."""
        return self._screen.size

    def pictures(self, fps: float | None, num_frames: int | None) -> Iterator[Image.Image]:
        """Yield what a viewer sees at every 1/*fps* seconds, for *num_frames* or to the end.

        Args:
            fps: By default the video's own rate, so that one of constant rate keeps its frames.
            num_frames: Pictures at most.
        """
        line = self.timeline
        fps = fps or line.fps
        total = max(1, round(line.duration * fps))
        total = total if num_frames is None else min(total, num_frames)
        # A stamp may be a little late (milliseconds in Matroska, jitter in a phone's recording):
        # a frame counts for the moment that is half a frame earlier. Not quite half, or every
        # second frame would belong to two moments at half the rate.
        late = min(1 / fps, line.step) / 2 - _SAME_MOMENT
        moment = 0
        seen, screen = self._first[1], None
        for stamp, frame in self._frames:
            while moment < total and stamp - line.start > moment / fps + late:
                screen = screen or self._screen.show(seen)
                yield screen
                moment += 1
            if moment == total:
                return
            seen, screen = frame, None
        screen = screen or self._screen.show(seen)
        for _ in range(moment, total):
            yield screen


class _Screen:
    """Turns decoded frames into upright RGB of one size: that of the first."""

    def __init__(self, first: VideoFrame, limits: dict[str, Any]) -> None:
        self._converter = VideoReformatter()
        self._turn = _TURNS.get(round(first.rotation) % 360)
        self._width, self._height = first.width, first.height
        if self._width * self._height > limits["video_pixels"]:
            raise _too_many_pixels(limits)

    @property
    def size(self) -> tuple[int, int]:
        if self._turn in {Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270}:
            return self._height, self._width
        return self._width, self._height

    def show(self, frame: VideoFrame) -> Image.Image:
        clear = any(component.is_alpha for component in frame.format.components)
        converted = self._converter.reformat(
            frame,
            self._width,
            self._height,
            "rgba" if clear or frame.format.has_palette else "rgb24",
            src_colorspace=_matrix(frame),
            src_color_range=frame.color_range or ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            interpolation=_SCALING,
            threads=1,
        )
        picture = _image(converted)
        if picture.mode == "RGBA":
            ground = Image.new("RGB", picture.size, WHITE)
            ground.paste(picture, mask=picture)
            picture = ground
        return picture if self._turn is None else picture.transpose(self._turn)


def _matrix(frame: VideoFrame) -> int:
    """Return the YUV matrix of *frame*, as players guess it where the file does not say."""
    if frame.colorspace != _UNSPECIFIED:
        return frame.colorspace
    large = frame.width > _WIDEST_SD or frame.height > _TALLEST_SD
    return Colorspace.ITU709 if large else Colorspace.ITU601


def _image(frame: VideoFrame) -> Image.Image:
    plane = frame.planes[0]
    mode = "RGBA" if frame.format.name == "rgba" else "RGB"
    size = (frame.width, frame.height)
    return Image.frombytes(mode, size, bytes(plane), "raw", mode, plane.line_size, 1)


def _opened(file: BinaryIO, container: str, limits: dict[str, Any]) -> InputContainer:
    caps = {"codec_whitelist": ",".join(_CODECS), "max_pixels": str(limits["video_pixels"])}
    options = {
        **caps,
        "format_whitelist": f"{container},matroska,webm,mp4",
        # The file is handed over open; nothing it names may be looked for.
        "protocol_whitelist": "none",
        "max_streams": "64",
        # Some frames are decoded to guess a rate that the stamps give exactly.
        "fpsprobesize": "0",
    }
    try:
        opened = av.open(file, "r", format=container, options=options)
    except av.FFmpegError as error:
        raise _unreadable() from error
    stream = opened.streams.best("video")
    codec = stream.codec_context.name if isinstance(stream, VideoStream) else None
    if not isinstance(stream, VideoStream) or codec not in _CODECS:
        opened.close()
        msg = "The file has no video stream of a supported codec"
        raise Refusal(msg, type="unsupported_video_format", supported_formats=VIDEO_NAMES)
    if stream.width * stream.height > limits["video_pixels"]:
        opened.close()
        raise _too_many_pixels(limits)
    stream.codec_context.options = caps
    stream.codec_context.thread_count = 1
    return opened


def _video_stream(container: InputContainer) -> VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        raise _unreadable()
    return stream


def _measure(container: InputContainer, limits: dict[str, Any]) -> Timeline:
    """Read the stamps of all frames: what the header says of them is not believed."""
    stream = _video_stream(container)
    if stream.time_base is None:
        raise _unreadable()
    unit = float(stream.time_base)
    stamps: list[float] = []
    length = 0.0
    # A file that breaks off ends in an error; what came before it counts.
    with contextlib.suppress(av.FFmpegError):
        for packet in container.demux(stream):
            stamp = packet.dts if packet.pts is None else packet.pts
            if stamp is None or packet.size == 0 or packet.is_discard or packet.is_corrupt:
                continue
            stamps.append(stamp * unit)
            length = (packet.duration or 0) * unit
            if len(stamps) > limits["frames"] or stamps[-1] - stamps[0] > limits["duration"]:
                raise _too_long(stamps[-1] - stamps[0], limits)
    if not stamps:
        raise _unreadable()
    first, last = min(stamps), max(stamps)
    step = (last - first) / (len(stamps) - 1) if len(stamps) > 1 else length
    timeline = Timeline(first, len(stamps), step or _stated_step(stream))
    if timeline.duration > limits["duration"]:
        raise _too_long(timeline.duration, limits)
    if timeline.fps > limits["fps"]:
        most = limits["fps"]
        msg = f"The video has {timeline.fps:.0f} frames a second; at most {most:.0f} are taken"
        raise Refusal(msg, type="value_error")
    return timeline


def _stated_step(stream: VideoStream) -> float:
    """Return the seconds between two frames by the header, for a file whose stamps do not tell."""
    rate = stream.average_rate
    return 1 / float(rate) if rate else 1 / 25


def _decoded(container: InputContainer) -> Iterator[tuple[float, VideoFrame]]:
    """Yield the good frames with their stamps in seconds."""
    stream = _video_stream(container)
    packets = container.demux(stream)
    stamp = 0.0
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            frames = packet.decode()
        except av.EOFError:
            return
        except av.FFmpegError:
            continue
        for frame in frames:
            if frame.is_corrupt:
                continue
            if frame.pts is not None:
                stamp = frame.time
            yield stamp, frame


def _unreadable() -> Refusal:
    msg = "The video cannot be decoded: it is damaged, incomplete, or too large to be opened"
    return Refusal(msg, type="unsupported_video_format", supported_formats=VIDEO_NAMES)


def _too_many_pixels(limits: dict[str, Any]) -> Refusal:
    pixels = limits["video_pixels"]
    side = int(pixels**0.5)
    msg = f"The video is too large: at most {pixels // 10**6} million pixels a frame are taken"
    return Refusal(msg, type="image_too_large", max_height=side, max_width=side)


def _too_long(seconds: float, limits: dict[str, Any]) -> Refusal:
    longest = limits["duration"]
    msg = f"The video is too long: at most {longest:.0f} seconds are taken"
    return Refusal(
        msg,
        type="video_duration_too_long",
        max_duration=longest,
        provided_duration=round(seconds, 3),
    )
