"""FILM (https://arxiv.org/abs/2202.04901): one shared pyramid of features, flows, one decoder.

Made for motion too large for RIFE. The network was trained for the frame half-way and nothing else,
so several frames between are made by halving: see `order`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, leaky_relu, pad

from wan_local.errors import BadCheckpoint
from wan_local.interpolation.warp import backward_warp

LEVELS = 7
"""Of the pyramid of pictures and flows; each halves the one before."""
FUSED = 5
"""Finest levels that the new frame is made from."""
STAGES = 4
"""Of the feature tree that is run on every level."""
OWN = 3
"""Finest levels whose flow has a predictor of its own; the others share one."""
SLOPE = 0.2


@dataclass(frozen=True, slots=True)
class FilmLayout:
    """The widths; the published network has these."""

    base: int = 64
    """Channels of the first stage; each stage doubles them."""
    flow_widths: tuple[int, ...] = (32, 64, 128, 256)
    """Of the predictors, the finest level first and the shared one last."""

    def features(self, level: int) -> int:
        """Channels that a picture has on *level*, 0 the finest."""
        return sum(self.base << stage for stage in range(min(level + 1, STAGES)))

    def fused(self, level: int) -> int:
        """Channels that the decoder is given on *level*: two pictures, features and flows."""
        return 2 * (3 + self.features(level) + 2)


def film_layout(weights: Mapping[str, Tensor]) -> FilmLayout:
    """Read the widths off the shapes of *weights*.

    Raises:
        BadCheckpoint: If a name of the published network is missing.
    """
    own = [f"predict_flow._predictors.{OWN - 1 - level}" for level in range(OWN)]
    try:
        base = weights["extract.extract_sublevels.convs.0.0.0.weight"].shape[0]
        widths = [
            weights[f"{predictor}._convs.0.0.weight"].shape[0]
            for predictor in (*own, "predict_flow._predictor")
        ]
    except KeyError as error:
        msg = f"these are not the weights of FILM: there is no {error}"
        raise BadCheckpoint(msg) from error
    return FilmLayout(base, tuple(widths))


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame and its features on every level, finest first; serves both of its pairs."""

    pictures: list[Tensor]
    features: list[Tensor]


@dataclass(frozen=True, slots=True)
class Motion:
    """Flows between two frames on the levels that are fused, in pixels of each level."""

    forth: list[Tensor]
    """Where each pixel of the first is in the second."""
    back: list[Tensor]


class Film(nn.Module):
    """The network; its keys are those of the published TorchScript archive."""

    multiple = 2 ** (LEVELS - 1)
    """Pixels that a side must be a multiple of."""

    def __init__(self, layout: FilmLayout | None = None) -> None:
        super().__init__()
        layout = layout or FilmLayout()
        self.extract = _Features(layout)
        self.predict_flow = _Flow(layout)
        self.fuse = _Decoder(layout)

    def see(self, frame: Tensor) -> Seen:
        """Build the pyramids of *frame*, [n, 3, height, width], 0 to 1."""
        pictures = [frame]
        for _ in range(LEVELS - 1):
            pictures.append(avg_pool2d(pictures[-1], 2))
        return Seen(pictures, self.extract(pictures))

    def motion(self, first: Seen, second: Seen) -> Motion:
        """Estimate the flows between two frames."""
        forth = self.predict_flow(first.features, second.features)
        back = self.predict_flow(second.features, first.features)
        return Motion(forth[:FUSED], back[:FUSED])

    def render(self, first: Seen, second: Seen, motion: Motion, time: float) -> Tensor:
        """Make the frame at *time*, 0 to 1, from its neighbours and their flows."""
        levels = []
        for level in range(FUSED):
            to_first = motion.back[level] * time
            to_second = motion.forth[level] * (1 - time)
            one = torch.cat((first.pictures[level], first.features[level]), 1)
            two = torch.cat((second.pictures[level], second.features[level]), 1)
            one, two = backward_warp(one, to_first), backward_warp(two, to_second)
            levels.append(torch.cat((one, two, to_first, to_second), 1))
        frame: Tensor = self.fuse(levels)
        return frame

    def between(self, first: Seen, second: Seen, times: Sequence[float]) -> Iterator[Tensor]:
        """Yield the frame at each of *times*, 0 to 1, made in the `order` of halving.

        A frame that is made serves as a neighbour of the next.
        """
        known: dict[float, Seen] = {0.0: first, 1.0: second}
        for before, time, after in order(times):
            one, two = known[before], known[after]
            middle = (time - before) / (after - before)
            frame = self.render(one, two, self.motion(one, two), middle).clamp(0, 1)
            known[time] = self.see(frame)
        yield from (known[time].pictures[0] for time in times)


def order(times: Sequence[float]) -> list[tuple[float, float, float]]:
    """Return (neighbour before, time, neighbour after) in the order frames are to be made in.

    Always the time that lies nearest the middle of its gap, the earlier one of two: 0.5 is what
    the network knows. 1/4, 1/2, 3/4 are all made half-way; of 1/3 and 2/3 the first is made off
    the middle, and the second half-way between it and the end.
    """
    known, waiting = [0.0, 1.0], sorted(times)
    made = []
    while waiting:
        gaps = [
            (
                max(place for place in known if place < time),
                time,
                min(place for place in known if place > time),
            )
            for time in waiting
        ]
        # Rounded, so that of two times equally far off the middle the earlier one is taken.
        chosen = min(gaps, key=lambda gap: (round(_off_middle(*gap), 9), gap[1]))
        made.append(chosen)
        known.append(chosen[1])
        waiting.remove(chosen[1])
    return made


def _off_middle(before: float, time: float, after: float) -> float:
    return abs((time - before) / (after - before) - 0.5)


class _Conv(nn.Sequential):
    """A convolution under the key `0`; an even kernel pads to the right and below only."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, active: bool = True) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, kernel, padding=(kernel // 2) * (kernel % 2)))
        self._even, self._active = kernel % 2 == 0, active

    def forward(self, hidden: Tensor) -> Tensor:
        result: Tensor = self[0](pad(hidden, (0, 1, 0, 1)) if self._even else hidden)
        return leaky_relu(result, SLOPE) if self._active else result


class _FeatureTree(nn.Module):
    def __init__(self, layout: FilmLayout) -> None:
        super().__init__()
        widths = [3, *(layout.base << stage for stage in range(STAGES))]
        self.convs = nn.ModuleList(
            nn.Sequential(_Conv(narrow, wide, 3), _Conv(wide, wide, 3))
            for narrow, wide in pairwise(widths)
        )

    def forward(self, picture: Tensor, depth: int) -> list[Tensor]:
        """Return what the first *depth* stages make of *picture*, each half the size."""
        stages: list[Tensor] = []
        for conv in list(self.convs)[:depth]:
            stages.append(conv(avg_pool2d(stages[-1], 2) if stages else picture))
        return stages


class _Features(nn.Module):
    def __init__(self, layout: FilmLayout) -> None:
        super().__init__()
        self.extract_sublevels = _FeatureTree(layout)

    def forward(self, pictures: list[Tensor]) -> list[Tensor]:
        """Return the features of each level: what all trees put out at that size."""
        gathered: list[list[Tensor]] = [[] for _ in pictures]
        for level, picture in enumerate(pictures):
            depth = min(STAGES, len(pictures) - level)
            for stage, features in enumerate(self.extract_sublevels(picture, depth)):
                gathered[level + stage].insert(0, features)
        return [torch.cat(features, 1) for features in gathered]


class _Predictor(nn.Module):
    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self._convs = nn.ModuleList(
            [
                _Conv(inputs, width, 3),
                _Conv(width, width, 3),
                _Conv(width, width, 3),
                _Conv(width, width // 2, 1),
                _Conv(width // 2, 2, 1, active=False),
            ]
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        hidden = torch.cat((first, second), 1)
        for conv in self._convs:
            hidden = conv(hidden)
        return hidden


class _Flow(nn.Module):
    def __init__(self, layout: FilmLayout) -> None:
        super().__init__()
        own = [_Predictor(2 * layout.features(i), layout.flow_widths[i]) for i in range(OWN)]
        self._predictor = _Predictor(2 * layout.features(OWN), layout.flow_widths[-1])
        self._predictors = nn.ModuleList(reversed(own))  # coarse to fine, as published

    def forward(self, first: list[Tensor], second: list[Tensor]) -> list[Tensor]:
        """Return the flow from *first* to *second* on every level, finest first."""
        flows: list[Tensor] = []
        for level in reversed(range(len(first))):
            predictor = self._predictor if level >= OWN else self._predictors[OWN - 1 - level]
            if not flows:
                flows.append(predictor(first[level], second[level]))
                continue
            size = first[level].shape[-2:]
            doubled = interpolate(flows[0] * 2, size=size, mode="bilinear", align_corners=False)
            moved = backward_warp(second[level], doubled)
            flows.insert(0, doubled + predictor(first[level], moved))
        return flows


class _Decoder(nn.Module):
    def __init__(self, layout: FilmLayout) -> None:
        super().__init__()
        self.output_conv = nn.Conv2d(layout.base, 3, 1)
        self.convs = nn.ModuleList()
        below = layout.fused(FUSED - 1)
        for level in reversed(range(FUSED - 1)):
            width = layout.base << min(level, OWN)
            self.convs.append(
                nn.ModuleList(
                    [
                        _Conv(below, width, 2, active=False),
                        _Conv(layout.fused(level) + width, width, 3),
                        _Conv(width, width, 3),
                    ]
                )
            )
            below = width

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Return the frame made from *levels*, finest first."""
        hidden = levels[-1]
        for convs, skipped in zip(self.convs.children(), reversed(levels[:-1]), strict=True):
            narrow, mix, refine = convs.children()
            hidden = narrow(interpolate(hidden, size=skipped.shape[-2:], mode="nearest"))
            hidden = refine(mix(torch.cat((skipped, hidden), 1)))
        frame: Tensor = self.output_conv(hidden)
        return frame
