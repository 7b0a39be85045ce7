"""Latents -> a file, as one stream: decode, interpolate, look, turn round, encode.

Chunk by chunk, so that memory does not grow with the number of frames. The device decodes chunk
after chunk while the host looks at the one before and ffmpeg, in a process of its own, encodes
the ones before that. Every generator here can be closed at any `yield`, and then nothing is left.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from wan_local.errors import EncodingFailed
from wan_local.events import FramesWritten, Warned
from wan_local.geometry import Size
from wan_local.pictures import write_picture
from wan_local.plan import VideoPlan
from wan_local.stages.decode import Vae, decode_pictures
from wan_local.tensors import Frames, Latents, Pictures
from wan_local.video.formats import white_of
from wan_local.video.nvenc import settled
from wan_local.video.sequences import SEQUENCES, SequenceWriter
from wan_local.video.writer import VideoWriter

PATIENCE = 0.25  # seconds between looks at a cancelled run while ffmpeg catches up

Smoothing = Callable[[Iterator[Pictures]], Iterator[Pictures]]
"""Puts the plan's new pictures between those of a stream."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A video that was written."""

    size: Size
    num_frames: int
    fps: float


class OutputCheck(Protocol):
    """Looks at finished frames."""

    def look(self, frames: Frames) -> None:
        """Raise `ContentRefused` if *frames* must not leave the house."""
        ...


def render(  # noqa: PLR0913 - each is an answer to another question
    vae: Vae,
    latents: Latents,
    plan: VideoPlan,
    output: Path,
    *,
    tiles: int = 1,
    smoothing: Smoothing | None = None,
    check: OutputCheck | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Generator[FramesWritten | Warned, None, Clip]:
    """Carry *latents* to the video, or the picture, at *output*.

    Decoded in *tiles* rows and columns of pieces. Without *smoothing*, the decoded frames are
    written as they are, at their own rate. *metadata* is what the file says of itself.

    Raises:
        EncodingFailed: If the file cannot be written.
        ContentRefused: If *check* says so; nothing of the video is left.
    """
    total = plan.written_frames if smoothing else plan.num_frames
    fps = plan.written_fps if smoothing else plan.fps
    with ExitStack() as stack:
        pictures: Iterator[Pictures] = stack.enter_context(
            closing(decode_pictures(vae, latents, num_frames=plan.num_frames, tiles=tiles))
        )
        if smoothing is not None:
            pictures = smoothing(pictures)
        white = 255 if plan.picture else white_of(plan.encoding.format)
        levels = (to_levels(chunk, white) for chunk in pictures)
        frames: Iterator[Frames] = looked_at(to_host(levels), check)
        if plan.reverse:
            spool = stack.enter_context(Spool(output.parent))
            for chunk in frames:
                spool.add(chunk)
                yield FramesWritten(0, total)
            frames = spool.last_to_first()
        first = next(frames)
        size = Size(first.shape[2], first.shape[1])
        if plan.picture:
            comment = (metadata or {}).get("comment")
            write_picture(first, output, plan.picture.format, comment=comment)
            yield FramesWritten(1, total)
            return Clip(size, total, fps)
        encoding, sentence = settled(plan.encoding, size)
        if sentence is not None:
            yield Warned(sentence)
        open_file = SequenceWriter if encoding.format in SEQUENCES else VideoWriter
        video: VideoWriter | SequenceWriter = open_file(
            output, size, fps=fps, encoding=encoding, metadata=metadata
        )
        stack.enter_context(video)
        yield from _encode(video, _and_the_rest(first, frames), total)
    return Clip(size, total, fps)


def _encode(
    video: VideoWriter | SequenceWriter, frames: Iterable[Frames], total: int
) -> Generator[FramesWritten, None, None]:
    """Feed *video*; what waits for ffmpeg says so again and again, so that a cancel is heard."""
    done = 0
    for chunk in frames:
        while not video.write(chunk, within=PATIENCE):
            yield FramesWritten(done, total)
        done += len(chunk)
        yield FramesWritten(done, total)
    while not video.finished(within=PATIENCE):
        yield FramesWritten(done, total)


def _and_the_rest(first: Frames, rest: Iterable[Frames]) -> Iterator[Frames]:
    yield first
    yield from rest


def looked_at(frames: Iterable[Frames], check: OutputCheck | None) -> Iterator[Frames]:
    """Pass *frames* on once *check* has seen them, in 8 bits."""
    for chunk in frames:
        if check is not None:
            check.look(_in_8_bits(chunk))
        yield chunk


def _in_8_bits(frames: Frames) -> Frames:
    if frames.dtype == torch.uint8:
        return frames
    return torch.from_numpy((frames.numpy() >> 8).astype(np.uint8))


@torch.inference_mode()
def to_levels(pictures: Pictures, white: int = 255) -> Tensor:
    """Round to 8 bits on the device, so that a quarter of the bytes cross to the host.

    To 16 bits where *white* is a level beyond 255, for formats that keep more than 8. Rounded,
    where diffusers' exporter cuts off: half a level brighter on average, and exact for pictures of
    whole levels.
    """
    dtype = torch.uint8 if white <= 255 else torch.uint16
    levels = (pictures * white).round().clamp(0, white).to(dtype)
    return levels.permute(0, 2, 3, 1).contiguous()


def to_host(chunks: Iterable[Tensor]) -> Generator[Frames, None, None]:
    """Bring *chunks* from their device into host memory, in order.

    From a CUDA device through two pinned buffers, one chunk behind: while the host waits for a
    copy, the device already works on the next chunk.
    """
    crossing = _Crossing()
    for chunk in chunks:
        if chunk.device.type != "cuda":
            yield chunk
        elif (landed := crossing.send(chunk)) is not None:
            yield landed
    if (landed := crossing.last()) is not None:
        yield landed


class _Crossing:
    """Two pinned buffers that chunks pass through by turns."""

    def __init__(self) -> None:
        self._buffers: list[Tensor] = [torch.empty(0, dtype=torch.uint8)] * 2
        self._under_way: tuple[Tensor, torch.cuda.Event] | None = None

    def send(self, chunk: Tensor) -> Frames | None:
        """Start the copy of *chunk*; return the one sent before it."""
        buffer, free = self._buffers
        if buffer.numel() < chunk.nbytes:
            buffer = torch.empty(chunk.nbytes, dtype=torch.uint8, pin_memory=True)
        view = buffer[: chunk.nbytes].view(chunk.dtype).view(chunk.shape)
        view.copy_(chunk, non_blocking=True)
        landing = torch.cuda.Event()  # type: ignore[no-untyped-call]
        landing.record(torch.cuda.current_stream(chunk.device))
        landed = self.last()
        self._buffers, self._under_way = [free, buffer], (view, landing)
        return landed

    def last(self) -> Frames | None:
        """Return the chunk that is under way, once it has landed."""
        if self._under_way is None:
            return None
        view, landing = self._under_way
        self._under_way = None
        landing.synchronize()
        return view.clone()  # out of the buffer, which the next chunk but one needs


class Spool:
    """Frames on the disk, written first to last and read last to first; use it in a `with`.

    Latents decode forwards only, so a reversed video has to wait for its first frame somewhere.
    Raw frames on the disk take 2.8 MB each at 1280×720; in memory they would grow with the video.
    The file has no name, so that nothing is left of it whatever happens to this process.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._chunks: list[tuple[int, Frames]] = []  # offset, and an empty tensor of its shape

    def __enter__(self) -> Self:
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=self._folder)
        except OSError as error:
            raise _no_spool(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, frames: Frames) -> None:
        """Write *frames* after the ones before.

        Raises:
            EncodingFailed: If the disk is full.
        """
        self._chunks.append((self._file.tell(), torch.empty_like(frames, device="meta")))
        try:
            self._file.write(frames.numpy().data)
        except OSError as error:
            raise _no_spool(error) from error

    def last_to_first(self) -> Iterator[Frames]:
        """Read every frame back, chunk by chunk."""
        for offset, like in reversed(self._chunks):
            self._file.seek(offset)
            frames = np.frombuffer(self._file.read(like.nbytes), dtype=_NUMPY[like.dtype])
            yield torch.from_numpy(frames.reshape(like.shape)[::-1].copy())


_NUMPY = {torch.uint8: np.uint8, torch.uint16: np.uint16}


def _no_spool(error: OSError) -> EncodingFailed:
    return EncodingFailed(f"the frames of a reversed video could not be kept on the disk: {error}")
