"""What came with a plan, as the frames that are to be encoded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from wan_local.catalog import model_for
from wan_local.errors import BadMedia
from wan_local.geometry import Size, generated_frames
from wan_local.media.reading import read_picture, read_video
from wan_local.plan import SourceFile, StartSpec, VideoPlan
from wan_local.stages.condition import WAYS, fit
from wan_local.tensors import Pixels

FootageKey: TypeAlias = tuple[object, ...]


class Footage:
    """The frames that *plan* is made from, one by one, scaled and cut to *size*.

    Files are read as frames are asked for.

    Raises:
        BadMedia: If a file cannot be read.
    """

    missing: int = 0
    """How many frames a video had too few; known at the end. Its last one is held for them."""

    def __init__(self, plan: VideoPlan, size: Size) -> None:
        self.key: FootageKey = _key(plan, size)
        """All that decides how the frames, and so their latents, come out."""
        self._plan = plan
        self._size = size

    def __iter__(self) -> Iterator[Pixels]:
        """Read the files."""
        plan = self._plan
        if plan.start is None:
            assert plan.first_frame is not None  # noqa: S101 - or there is nothing to encode
            first = self._picture(plan.first_frame)
            last = self._picture(plan.last_frame) if plan.last_frame else None
            yield from WAYS[model_for(plan).kind].frames(first, last, plan)
        elif plan.picture:
            yield self._picture(plan.start.file)
        else:
            yield from self._video(plan.start)

    def _picture(self, file: SourceFile) -> Pixels:
        return fit(read_picture(Path(file.path)), self._size)

    def _video(self, start: StartSpec) -> Iterator[Pixels]:
        # The VAE takes a few more than the client gets: they are read, too, where there are any.
        total, done, frame = generated_frames(self._plan.num_frames), 0, None
        for pixels in read_video(Path(start.file.path), fps=start.fps, num_frames=total):
            frame = fit(pixels, self._size)
            done += 1
            yield frame
        if frame is None:
            msg = "The video has no frame that can be decoded"
            raise BadMedia(msg)
        self.missing = max(0, self._plan.num_frames - done)
        for _ in range(total - done):
            yield frame


def _key(plan: VideoPlan, size: Size) -> FootageKey:
    files = (plan.first_frame, plan.last_frame, plan.start.file if plan.start else None)
    fps = plan.start.fps if plan.start else None
    return (plan.model, size, plan.num_frames, fps, *(file and file.sha256 for file in files))
