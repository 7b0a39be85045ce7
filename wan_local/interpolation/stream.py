"""A stream of pictures -> the same stream with new ones between, in constant memory."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor

from wan_local.interpolation.cuts import CutDetector, shrunk
from wan_local.interpolation.pairs import Interpolator
from wan_local.tensors import Pictures


def interpolated(
    chunks: Iterable[Pictures], interpolator: Interpolator, frames_between: int
) -> Generator[Pictures, None, None]:
    """Yield the pictures of *chunks* one by one, *frames_between* new ones between each pair.

    What comes out of the source goes out as it came in. At a cut nothing is mixed: the nearer
    picture is repeated, so that there are always as many as `geometry.interpolated_frames` says.
    Two pictures of the source are in memory at a time beside its chunk, and it may be closed
    between any two that it yields.

    Raises:
        torch.OutOfMemoryError: If a quarter of a picture does not fit on the device.
    """
    times = [number / (frames_between + 1) for number in range(1, frames_between + 1)]
    cuts = CutDetector()
    before: _Shown | None = None
    for picture in _one_by_one(chunks):
        after = _Shown(picture, shrunk(picture))
        if before is not None and cuts.is_cut(before.small, after.small):
            yield from (before.picture if time <= 0.5 else picture for time in times)
        elif before is not None:
            yield from interpolator.between(before.picture, picture, times)
        yield picture
        before = after


@dataclass(frozen=True, slots=True)
class _Shown:
    """A picture of the source, and the small one that the cut detector compares."""

    picture: Pictures
    small: Tensor


def _one_by_one(chunks: Iterable[Pictures]) -> Iterator[Pictures]:
    for chunk in chunks:
        for index in range(len(chunk)):
            yield chunk[index : index + 1]
