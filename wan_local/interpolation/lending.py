"""An interpolator out of the residency, for the length of one video."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from wan_local.catalog import INTERPOLATORS
from wan_local.geometry import Size
from wan_local.interpolation.film import Film
from wan_local.interpolation.opening import load_network, network_dtype
from wan_local.interpolation.pairs import Interpolator
from wan_local.interpolation.rife import Rife
from wan_local.interpolation.stream import interpolated
from wan_local.models.interpolators import find_interpolator
from wan_local.models.residency import Residency
from wan_local.plan import InterpolationSpec
from wan_local.tensors import Pictures

PREFIX = "interpolation/"
"""Of the names that interpolators have in a residency."""


class Smoother:
    """Puts the plan's new pictures between those of a stream."""

    def __init__(self, interpolator: Interpolator, frames_between: int) -> None:
        self._interpolator = interpolator
        self._frames_between = frames_between

    def __call__(self, pictures: Iterator[Pictures]) -> Iterator[Pictures]:
        """Return the stream with the new pictures in it."""
        return interpolated(pictures, self._interpolator, self._frames_between)

    @property
    def shortage(self) -> str | None:
        """What too little memory has cost, in a sentence."""
        if not self._interpolator.halvings:
            return None
        return (
            f"memory ran out while frames were interpolated: they were cut into "
            f"{2**self._interpolator.halvings} tiles, and motion across a seam may be off"
        )


@contextmanager
def smoother(
    spec: InterpolationSpec | None, size: Size, models: Residency
) -> Iterator[Smoother | None]:
    """Hold the interpolator that *spec* asks for; None if it asks for no new frames.

    Raises:
        WeightsMissing: If its weights are not on this machine.
        BadCheckpoint: If they are not what its name says.
    """
    if spec is None or spec.frames_between == 0:
        yield None
        return
    room = INTERPOLATORS[spec.model].bytes_per_pixel * size.width * size.height
    with models.hold(f"{PREFIX}{spec.model}", room=room) as network:
        yield Smoother(Interpolator(network), spec.frames_between)


def is_interpolator(component: str) -> bool:
    """Whether *component* of a residency is one of these."""
    return component.startswith(PREFIX)


def load_interpolator(component: str, weights_dir: Path, device: torch.device) -> Rife | Film:
    """Load what a residency calls *component* into host memory, for *device*.

    Raises:
        WeightsMissing: If its weights are not on this machine.
        BadCheckpoint: If they are not what its name says.
    """
    name = component.removeprefix(PREFIX)
    return load_network(name, find_interpolator(weights_dir, name), network_dtype(device))
