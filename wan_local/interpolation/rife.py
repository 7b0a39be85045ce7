"""RIFE 4.5 to 4.26 (https://arxiv.org/abs/2011.06294), one class for every published layout.

Block by block, coarse to fine, a flow from the new frame to each of its neighbours is refined, and
a mask says which neighbour to believe. What differs between releases is read off the shapes of the
tensors; that the mask is summed over the blocks and not replaced goes with having no encoder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

from wan_local.errors import BadCheckpoint
from wan_local.interpolation.warp import backward_warp

SLOPE = 0.2
"""Of every leaky ReLU."""
RESIDUALS = 8
"""Residual convolutions of a block."""
FLOW, MASK = 4, 1
"""Channels a block always puts out; carried features and a spare one may follow."""
CARRIED = 8
"""Channels that a block hands to the next one, since 4.21."""


@dataclass(frozen=True, slots=True)
class RifeLayout:
    """What differs between the releases."""

    widths: tuple[int, ...]
    """Channels of each block, coarse to fine."""
    encoder: Literal["none", "short", "long"] = "none"
    """Of the frames: none up to 4.6, two layers up to 4.9, four since."""
    encoder_width: int = 0
    features: int = 0
    """Channels that the encoder gives each frame."""
    carried: int = 0
    spare: int = 1
    """Channels that blocks put out and nobody reads: one from 4.6 to 4.20."""

    @property
    def scales(self) -> tuple[float, ...]:
        """How much smaller than the frame each block sees it."""
        return tuple(2.0**power for power in reversed(range(len(self.widths))))

    @property
    def multiple(self) -> int:
        """Pixels that a side must be a multiple of."""
        return int(4 * self.scales[0])

    @property
    def block_output(self) -> int:
        """Channels that a block puts out."""
        return FLOW + MASK + self.carried + self.spare

    def block_input(self, block: int) -> int:
        """Channels that block number *block* takes: frames, features, time, and what came before.

        The flow, the mask and the carried features of the block before it, for all but the first.
        """
        before = FLOW + MASK + self.carried if block else 0
        return 2 * (3 + self.features) + 1 + before


def rife_layout(weights: Mapping[str, Tensor]) -> RifeLayout:
    """Read the layout off the shapes of *weights*, which carry the published names.

    Raises:
        BadCheckpoint: If they are not those of a RIFE from 4.5 to 4.26.
    """
    try:
        blocks = 1 + max(int(name[5]) for name in weights if re.match(r"block\d\.", name))
        widths = tuple(weights[f"block{i}.conv0.1.0.weight"].shape[0] for i in range(blocks))
        output = weights["block0.lastconv.0.weight"].shape[1] // 4
        entrance = weights["block0.conv0.0.0.weight"].shape[1]
    except (ValueError, KeyError, IndexError) as error:
        msg = f"these are not the weights of a RIFE from 4.5 to 4.26: {error}"
        raise BadCheckpoint(msg) from error
    carried = CARRIED if output >= FLOW + MASK + CARRIED else 0
    spare = output - FLOW - MASK - carried
    layout = RifeLayout(widths, *_encoder(weights), carried, spare)
    if entrance != layout.block_input(0) or spare not in {0, 1}:
        msg = (
            f"not a RIFE layout from 4.5 to 4.26: the first block takes {entrance} channels and "
            f"puts out {output}"
        )
        raise BadCheckpoint(msg)
    return layout


def _encoder(weights: Mapping[str, Tensor]) -> tuple[Literal["none", "short", "long"], int, int]:
    if "encode.cnn3.weight" in weights and "encode.cnn0.weight" in weights:
        return "long", weights["encode.cnn0.weight"].shape[0], _outputs(weights, "encode.cnn3")
    if "encode.1.weight" in weights and "encode.0.weight" in weights:
        return "short", weights["encode.0.weight"].shape[0], _outputs(weights, "encode.1")
    return "none", 0, 0


def _outputs(weights: Mapping[str, Tensor], transposed: str) -> int:
    return weights[f"{transposed}.weight"].shape[1]


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame and what the encoder makes of it; computed once, used for both of its pairs."""

    frame: Tensor
    """[n, 3, height, width], 0 to 1."""
    features: Tensor | None
    """[n, features, height, width]."""

    def warped(self, flow: Tensor) -> Seen:
        """Return both, read where *flow* points."""
        features = None if self.features is None else backward_warp(self.features, flow)
        return Seen(backward_warp(self.frame, flow), features)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known after one block."""

    flow: Tensor
    """[n, 4, height, width]: pixels from the new frame to the first (u, v) and the second."""
    mask: Tensor
    """[n, 1, height, width]: how much to believe the first, before the sigmoid."""
    first: Tensor
    """[n, 3, height, width]: the first frame, warped."""
    second: Tensor

    def blend(self) -> Tensor:
        """Return the new frame."""
        share = torch.sigmoid(self.mask)
        return self.first * share + self.second * (1 - share)


class Rife(nn.Module):
    """The network; its keys are those of the published files."""

    multiple: int
    """Pixels that a side must be a multiple of."""

    def __init__(self, layout: RifeLayout) -> None:
        super().__init__()
        self.layout = layout
        self.multiple = layout.multiple
        if layout.encoder != "none":
            self.encode = _encoder_of(layout)
        for index, width in enumerate(layout.widths):
            block = Block(layout.block_input(index), width, layout.block_output)
            self.add_module(f"block{index}", block)

    def see(self, frame: Tensor) -> Seen:
        """Run the encoder over *frame*, if there is one."""
        return Seen(frame, None if self.layout.encoder == "none" else self.encode(frame))

    def between(self, first: Seen, second: Seen, times: Sequence[float]) -> Iterator[Tensor]:
        """Yield the frame at each of *times*, 0 to 1, one pass each: time is an input."""
        for time in times:
            plane = torch.full_like(first.frame[:, :1], time)
            *_, last = self.refine(first, second, plane)
            yield last.blend()

    def refine(self, first: Seen, second: Seen, time: Tensor) -> Iterator[Estimate]:
        """Yield what each block knows, the last one the most.

        Args:
            first: The frame before.
            second: The frame after.
            time: [n, 1, height, width], 0 at the first and 1 at the second.
        """
        flow: Tensor | None = None
        mask, carried = first.frame.new_zeros(()), first.frame.new_zeros(())
        one, two = first, second
        for index, scale in enumerate(self.layout.scales):
            seen = _joined(one.frame, two.frame, one.features, two.features, time)
            if flow is not None:
                seen = torch.cat((seen, mask, carried), 1)
            raw = self.get_submodule(f"block{index}")(seen, flow, scale)
            moved = raw[:, :FLOW] * scale
            flow = moved if flow is None else flow + moved
            logits = raw[:, FLOW : FLOW + MASK]
            mask = mask + logits if self.layout.encoder == "none" else logits
            carried = raw[:, FLOW + MASK : FLOW + MASK + self.layout.carried]
            one, two = first.warped(flow[:, :2]), second.warped(flow[:, 2:])
            yield Estimate(flow, mask, one.frame, two.frame)


class Block(nn.Module):
    """Looks at everything *scale* times smaller and says how the flow should change."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(_halving(inputs, width // 2), _halving(width // 2, width))
        self.convblock = nn.Sequential(*(Residual(width) for _ in range(RESIDUALS)))
        self.lastconv = nn.Sequential(
            nn.ConvTranspose2d(width, 4 * outputs, 4, 2, 1), nn.PixelShuffle(2)
        )

    def forward(self, seen: Tensor, flow: Tensor | None, scale: float) -> Tensor:
        """Return [n, outputs, height, width]; a flow in it is in pixels of the small size."""
        small = _resized(seen, 1 / scale)
        if flow is not None:
            small = torch.cat((small, _resized(flow, 1 / scale) / scale), 1)
        return _resized(self.lastconv(self.convblock(self.conv0(small))), scale)


class Residual(nn.Module):
    """A convolution with a learned gain for each channel, added to what went in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, 1, 1)
        self.beta = nn.Parameter(torch.ones(1, width, 1, 1))

    def forward(self, hidden: Tensor) -> Tensor:
        """Keep the shape."""
        return leaky_relu(torch.addcmul(hidden, self.conv(hidden), self.beta), SLOPE)


class LongEncoder(nn.Module):
    """Four layers: half the size, and back."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.cnn0 = nn.Conv2d(3, width, 3, 2, 1)
        self.cnn1 = nn.Conv2d(width, width, 3, 1, 1)
        self.cnn2 = nn.Conv2d(width, width, 3, 1, 1)
        self.cnn3 = nn.ConvTranspose2d(width, features, 4, 2, 1)

    def forward(self, frame: Tensor) -> Tensor:
        """Return the features at the size of *frame*."""
        hidden = frame
        for layer in (self.cnn0, self.cnn1, self.cnn2):
            hidden = leaky_relu(layer(hidden), SLOPE)
        features: Tensor = self.cnn3(hidden)
        return features


def _encoder_of(layout: RifeLayout) -> nn.Module:
    if layout.encoder == "long":
        return LongEncoder(layout.encoder_width, layout.features)
    return nn.Sequential(
        nn.Conv2d(3, layout.encoder_width, 3, 2, 1),
        nn.ConvTranspose2d(layout.encoder_width, layout.features, 4, 2, 1),
    )


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), nn.LeakyReLU(SLOPE))


def _joined(*planes: Tensor | None) -> Tensor:
    return torch.cat([plane for plane in planes if plane is not None], 1)


def _resized(planes: Tensor, factor: float) -> Tensor:
    if factor == 1:
        return planes
    return interpolate(planes, scale_factor=factor, mode="bilinear", align_corners=False)
