"""The interpolation networks that can be trained, and what each is told about a triplet.

To train another network, write how it is made and taught, and add a row to PUPILS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d

from wan_local.interpolation.film import FUSED, OWN, Film, FilmLayout, Motion, Seen
from wan_local.interpolation.rife import Rife, RifeLayout
from wan_local.interpolation.warp import backward_warp
from weights.train.grow import grow
from weights.train.motion import Triplet
from weights.train.muon import Muon, learned_by_muon

FARTHEST = 30.0
"""Pixels from which on a flow is not more wrong."""
FADED = 0.8
"""How much less each estimate of RIFE counts than the one after it."""
SHARE, MOVED = 0.25, 0.5
"""Weight of the picture's error, a logarithm, beside the flow's, in pixels; and of flows that are
taught by themselves, of the picture that they move."""

UNREST = 2.0
"""Weight of a pixel of flow where nothing moves; with 0.5 medians of 0.07 to 0.4 pixels stayed."""
NARROW, FILM = FilmLayout(6, (8, 12, 16, 24)), FilmLayout(8, (12, 16, 24, 32))
"""Widths of the FILM that is trained first, a step of which takes two thirds, and of what it grows
to."""
WIDE = FilmLayout(8, (32, 48, 64, 96))
"""Widths of the FILM whose flows are taught by themselves."""
NOISE, ROUNDING = 1e-5, 1e-6
"""Mean squared errors, 50 and 60 dB, from which on less is hardly better: that of the noise in most
scenes, and that of a picture in whole levels.

RIFE moves pictures and mixes them: where nothing moves it has nothing to get wrong. FILM draws the
frame anew. As long as 50 dB were good enough it came no nearer, and lost 1 to 3 dB to fading on
real clips that stand nearly still.
"""


Flows = Sequence[tuple[Tensor, Tensor]]
"""Forth and back, finest level first, in pixels of each level."""


@dataclass(frozen=True, slots=True)
class Strictness:
    """How much the true flow matters."""

    weight: float
    slack: float
    """Pixels that a flow may be off at no cost.

    The true flow is not the best one, as reading between pixels blurs. Where two frames are half a
    pixel apart, following it blurs three times as much (in variance) as fading does; at one pixel
    it is as much. Below that standing still is better, and whole pixels better than what lies
    between them.
    """


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one step showed."""

    loss: Tensor
    picture: Tensor
    """[n, 3, size, size]: the frame between, as the network has it."""
    flow_error: float
    """Pixels, mean."""


@dataclass(frozen=True, slots=True)
class Pupil:
    """A network that can be trained."""

    make: Callable[[], nn.Module]
    learn: Callable[[Any, Triplet, Strictness], Lesson]
    halfway: bool
    """Whether it is only shown frames from the middle."""
    heads: tuple[str, ...]
    """Parts of the names of the layers that put out motion or a picture.

    AdamW learns them, and all gains and biases. A step of Muon is as long in them as in any other
    matrix: it was a jump of several pixels, and unmade FILM's decoder, which begins as a fading.
    """
    put: Callable[[Any, Mapping[str, Tensor]], object] = nn.Module.load_state_dict
    """Puts the weights of a finished network into one just made."""
    rate: float = 1e-3
    """Of AdamW."""
    matrix_rate: float = 0.01
    """Of Muon."""

    def optimizers(self, network: nn.Module) -> list[tuple[torch.optim.Optimizer, float]]:
        """Return what learns *network*, each with its rate."""
        heads = {id(p) for n, p in network.named_parameters() if self._is_head(n)}
        matrices = [p for p in learned_by_muon(network) if p.requires_grad and id(p) not in heads]
        by_muon = {id(p) for p in matrices}
        others = [p for p in network.parameters() if p.requires_grad and id(p) not in by_muon]
        adam = torch.optim.AdamW(others, lr=0.0, weight_decay=1e-4, betas=(0.9, 0.98))
        muon = [(Muon(matrices, 0.0), self.matrix_rate)] if matrices else []
        return [*muon, (adam, self.rate)]

    def _is_head(self, name: str) -> bool:
        return any(part in name for part in self.heads)


def log_error(picture: Tensor, truth: Tensor, floor: float) -> Tensor:
    """Return the mean logarithm of the mean squared error of each picture: minus its PSNR.

    Below the mean squared error *floor* less is hardly better.

    A scene that stands still counts as much as one in which everything moves. With a plain
    difference it counts for nothing, and was where small networks lost to fading, by 2 to 9 dB.
    """
    errors = (picture - truth).square().mean((1, 2, 3))
    return (errors + floor).log().mean()


def small_rife() -> Rife:
    """Return a narrow RIFE 4.6 that begins as a fading: no flow, and half of each frame."""
    net = Rife(RifeLayout((64, 48, 40, 32)))
    for name, weight in net.named_parameters():
        if name.endswith("beta"):
            nn.init.constant_(weight, 0.3)
        elif name.endswith("lastconv.0.weight"):
            nn.init.xavier_uniform_(weight, 0.1)
        elif name.endswith("lastconv.0.bias"):
            nn.init.zeros_(weight)
    return net.to(memory_format=torch.channels_last)


def teach_rife(net: Rife, triplet: Triplet, strictness: Strictness) -> Lesson:
    """Return what the last picture got wrong, and every block's flow, later ones counting more."""
    plane = triplet.time.expand_as(triplet.first[:, :1])
    velocity = triplet.velocity[1]
    truth = torch.cat((-triplet.time * velocity, (1 - triplet.time) * velocity), 1)
    estimates = list(net.refine(net.see(triplet.first), net.see(triplet.second), plane))
    picture = estimates[-1].blend()
    loss = SHARE * log_error(picture, triplet.middle, NOISE)
    for index, estimate in enumerate(reversed(estimates)):
        loss = loss + FADED**index * _flow_loss(estimate.flow, truth, strictness)
    error = (estimates[-1].flow - truth).detach().unflatten(1, (2, 2)).norm(dim=2).mean()
    return Lesson(loss, picture.detach(), float(error))


def small_film(layout: FilmLayout = FILM) -> Film:
    """Return a FILM of *layout* that begins as a fading between its frames, warped.

    The decoder's finest level passes on the mean of the two pictures it is given; all else in it
    is nearly silent. From random weights the same network first has to learn what a picture is.
    """
    net = Film(layout)
    finest: Any = list(net.fuse.convs.children())[-1]
    _, mix, refine = finest.children()
    with torch.no_grad():
        for predictor in (*net.predict_flow._predictors, net.predict_flow._predictor):
            predictor._convs[-1][0].weight.mul_(0.1)
            predictor._convs[-1][0].bias.zero_()
        pass_pictures(mix[0], (0, 3 + layout.features(0)))
        pass_pictures(refine[0], (0,))
        output = net.fuse.output_conv
        output.weight.mul_(0.1)
        output.weight[:, :3, 0, 0] = torch.eye(3)
        output.bias.zero_()
    return net.to(memory_format=torch.channels_last)


def pass_pictures(conv: nn.Conv2d, places: Sequence[int]) -> None:
    """Make the first three channels of *conv* the mean of the pictures that begin at *places*."""
    assert conv.bias is not None
    conv.weight[:3] = 0
    conv.bias[:3] = 0
    for place in places:
        conv.weight[:3, place : place + 3, 1, 1] = torch.eye(3) / len(places)


def teach_film(net: Film, triplet: Triplet, strictness: Strictness) -> Lesson:
    """Return what the picture got wrong, and the flows of all levels that are fused."""
    first, second, flows = _look(net, triplet)
    motion = _motion(flows)
    picture = net.render(first, second, motion, 0.5)
    loss = SHARE * log_error(picture, triplet.middle, ROUNDING)
    # The decoder makes up for flows of a quarter of a pixel where nothing moves, but not for all
    # that they blur: they have to be good by themselves, as RIFE's are.
    loss = loss + SHARE * log_error(_moved(triplet, motion), triplet.middle, ROUNDING)
    loss = loss + _wrong_flows(flows, triplet, strictness)
    loss = loss + UNREST * _unrest(flows[:1], triplet, strictness.slack)
    return Lesson(loss, picture.detach(), _flow_error(motion, triplet))


def teach_flows(net: Film, triplet: Triplet, strictness: Strictness, still: float = 0.5) -> Lesson:
    """Return what the flows got wrong, on all levels, and what they move; draw nothing.

    Where less than *still* pixels are true, they had better be none.
    """
    _, _, flows = _look(net, triplet)
    motion = _motion(flows)
    picture = _moved(triplet, motion)
    loss = MOVED * log_error(picture, triplet.middle, ROUNDING)
    loss = loss + _wrong_flows(flows, triplet, strictness)
    loss = loss + UNREST * _unrest(flows, triplet, still)
    return Lesson(loss, picture.detach(), _flow_error(motion, triplet))


def _look(net: Film, triplet: Triplet) -> tuple[Seen, Seen, Flows]:
    # Both frames, and both ways, at once: half as many operations, each twice as large.
    seen = net.see(torch.cat((triplet.first, triplet.second)))
    turned = [torch.cat(features.chunk(2)[::-1]) for features in seen.features]
    flows = []
    for flow in net.predict_flow(seen.features, turned):
        forth, back = flow.chunk(2)
        flows.append((forth, back))
    return _half(seen, 0), _half(seen, 1), flows


def _half(seen: Seen, index: int) -> Seen:
    pictures, features = (
        [level.chunk(2)[index] for level in levels] for levels in (seen.pictures, seen.features)
    )
    return Seen(pictures, features)


def _motion(flows: Flows) -> Motion:
    fused = flows[:FUSED]
    return Motion([forth for forth, _ in fused], [back for _, back in fused])


def _moved(triplet: Triplet, motion: Motion) -> Tensor:
    """Return the mean of both frames, moved half-way."""
    ways = ((triplet.first, motion.back), (triplet.second, motion.forth))
    one, two = (backward_warp(frame, flow[0] / 2) for frame, flow in ways)
    return (one + two) / 2


def _flow_error(motion: Motion, triplet: Triplet) -> float:
    return float((motion.forth[0] - triplet.velocity[0]).detach().norm(dim=1).mean())


def _flow_loss(flow: Tensor, truth: Tensor, strictness: Strictness) -> Tensor:
    # Every second pixel each way: flows are smooth, and a quarter of the work.
    wrong = (flow[..., ::2, ::2] - truth[..., ::2, ::2]).abs() - strictness.slack
    return strictness.weight * wrong.clamp(0, FARTHEST).mean()


def _wrong_flows(flows: Flows, triplet: Triplet, strictness: Strictness) -> Tensor:
    loss = torch.zeros(())
    truths = triplet.velocity[0], -triplet.velocity[2]
    for level, pair in enumerate(flows[:FUSED]):
        for flow, truth in zip(pair, truths, strict=True):
            wrong = _flow_loss(flow * 2**level, truth, strictness)
            loss = loss + 0.5 * FADED**level * wrong
        truths = avg_pool2d(truths[0], 2), avg_pool2d(truths[1], 2)
    return loss


def _unrest(flows: Flows, triplet: Triplet, still: float) -> Tensor:
    """Return how much *flows* move where less than *still* pixels are true: none is the best.

    On a coarse level that is where all that lies below stands still, not where the mean of it does:
    what is small and moves by itself would be held fast.
    """
    loss = torch.zeros(())
    ways = [triplet.velocity[index].norm(dim=1, keepdim=True) for index in (0, 2)]
    for level, pair in enumerate(flows):
        for flow, way in zip(pair, ways, strict=True):
            loss = loss + FADED**level * ((flow * 2**level).abs() * (way < still)).mean()
        if level + 1 < len(flows):
            ways = [max_pool2d(way, 2) for way in ways]
    return loss


def film_for_flows(layout: FilmLayout = FILM) -> Film:
    """Return a FILM of which all is learned but the decoder.

    In 9,000 steps of one large crop each, at the rates of all else, the decoder came to sharpen
    everything, still frames too, by 7 % where it had been 2.6, and 0.4 to 0.8 dB were lost by it
    on three clips that stand nearly still. Why it did is not known.
    """
    return _learning(small_film(layout), "extract.", "predict_flow.")


def film_for_fine_flows(levels: int) -> Film:
    """Return a FILM of which the flows of the *levels* finest levels are learned, and no more.

    Where clips stand nearly still the coarse ones came to within a hundredth of a pixel, and these
    made up to 0.09 of it (medians). Six tenths of what they add were better: 0.2 to 0.3 dB there.
    """
    own = [f"predict_flow._predictors.{OWN - 1 - level}." for level in range(levels)]
    return _learning(small_film(WIDE), *own)


def _learning(net: Film, *parts: str) -> Film:
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name.startswith(parts))
    return net


def _film(layout: FilmLayout, make: Callable[[], Film] | None = None) -> Pupil:
    return Pupil(
        make or partial(small_film, layout),
        teach_film,
        halfway=True,
        heads=("_convs.4", "fuse."),
        put=partial(grow, layout),
    )


WIDE_FLOWS = replace(
    _film(WIDE, partial(film_for_flows, WIDE)), learn=teach_flows, rate=3e-4, matrix_rate=3e-3
)
PUPILS = {
    "rife": Pupil(small_rife, teach_rife, halfway=False, heads=("lastconv",)),
    "film-narrow": _film(NARROW),
    "film": _film(FILM),
    "film-flows": _film(FILM, film_for_flows),
    "film-wide": WIDE_FLOWS,
    "film-fine": replace(WIDE_FLOWS, make=partial(film_for_fine_flows, 3)),
    "film-finest": replace(
        WIDE_FLOWS, make=partial(film_for_fine_flows, 2), learn=partial(teach_flows, still=1.0)
    ),
}
