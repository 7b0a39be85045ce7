"""Put what a narrow FILM has learned into a wider one, which then does the same as before.

The channels that are new begin at random, and nothing that was there before listens to them yet:
Chen et al., "Net2Net", 2015, with zeros in place of copies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from wan_local.interpolation.film import FUSED, OWN, STAGES, Film, FilmLayout, film_layout


@dataclass(frozen=True, slots=True)
class Channels:
    """What one convolution takes in, part by part, and how much it puts out."""

    parts: tuple[int, ...]
    outputs: int


@torch.no_grad()
def grow(layout: FilmLayout, net: Film, learned: Mapping[str, Tensor]) -> None:
    """Write the weights *learned* by a FILM that is no wider into *net*, of *layout*.

    Raises:
        ValueError: If that one is wider.
    """
    before, after = channels(film_layout(learned)), channels(layout)
    if any(before[name].outputs > after[name].outputs for name in after):
        msg = f"a network of {film_layout(learned)} does not fit into one of {layout}"
        raise ValueError(msg)
    for name, now in after.items():
        conv = net.get_submodule(name)
        weight, bias = learned[f"{name}.weight"].float(), learned[f"{name}.bias"].float()
        assert isinstance(conv, torch.nn.Conv2d)
        assert conv.bias is not None
        conv.weight[: len(weight)] = 0
        into = start = 0
        for old, new in zip(before[name].parts, now.parts, strict=True):
            conv.weight[: len(weight), into : into + old] = weight[:, start : start + old]
            into, start = into + new, start + old
        conv.bias[: len(bias)] = bias


def channels(layout: FilmLayout) -> dict[str, Channels]:
    """Return every convolution of a FILM of *layout*, by its name."""
    return dict([*_features(layout), *_flow(layout), *_decoder(layout)])


def _stages(layout: FilmLayout, level: int) -> tuple[int, ...]:
    return tuple(layout.base << stage for stage in range(min(level + 1, STAGES)))


def _features(layout: FilmLayout) -> Iterator[tuple[str, Channels]]:
    narrow = 3
    for stage, wide in enumerate(_stages(layout, STAGES)):
        convs = f"extract.extract_sublevels.convs.{stage}"
        yield f"{convs}.0.0", Channels((narrow,), wide)
        yield f"{convs}.1.0", Channels((wide,), wide)
        narrow = wide


def _flow(layout: FilmLayout) -> Iterator[tuple[str, Channels]]:
    for level, width in enumerate(layout.flow_widths):
        own = f"_predictors.{OWN - 1 - level}" if level < OWN else "_predictor"
        half = width // 2
        for place, conv in enumerate(
            (
                Channels(2 * _stages(layout, level), width),
                Channels((width,), width),
                Channels((width,), width),
                Channels((width,), half),
                Channels((half,), 2),
            )
        ):
            yield f"predict_flow.{own}._convs.{place}.0", conv


def _decoder(layout: FilmLayout) -> Iterator[tuple[str, Channels]]:
    def fused(level: int) -> tuple[int, ...]:
        return (*2 * (3, *_stages(layout, level)), 2, 2)

    below = fused(FUSED - 1)
    for place, level in enumerate(reversed(range(FUSED - 1))):
        width = layout.base << min(level, OWN)
        for part, parts in enumerate((below, (*fused(level), width), (width,))):
            yield f"fuse.convs.{place}.{part}.0", Channels(parts, width)
        below = (width,)
    yield "fuse.output_conv", Channels(below, 3)
