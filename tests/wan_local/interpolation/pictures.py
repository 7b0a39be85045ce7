"""Pictures that move, and how near an interpolated one comes."""

from __future__ import annotations

import av
import torch
from torch.nn.functional import avg_pool2d, interpolate

from weights.train.textures import DENSITY, textures


def moving(height, width, *, shift, seed=7):
    """Two views, [1, 3, height, width], of a smooth picture; the second *shift* (x, y) further."""
    x, y = shift
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(1, 3, height // 8 + 2, width // 8 + 2, generator=generator)
    size = (height + abs(y), width + abs(x))
    whole = interpolate(small, size=size, mode="bicubic").clamp(0, 1)
    return whole[..., :height, :width].contiguous(), whole[..., y:, x:].contiguous()


def sliding(shift, times, *, seed, height=128, width=144):
    """A texture never trained on, seen at each of *times* on its way of *shift* pixels to the left.

    The way to each is a whole number of pixels, so that nothing is resampled.
    """
    texture = avg_pool2d(textures(1, torch.Generator().manual_seed(seed)), DENSITY)
    starts = [round(shift * time) for time in times]
    assert starts == [shift * time for time in times]
    return [texture[..., 16 : 16 + height, 16 + x : 16 + x + width] for x in starts]


def clip(path, *, longer_side, frames):
    """The first *frames* of a video, [frames, height, width, 3], uint8, made smaller."""
    found = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        ratio = longer_side / max(stream.codec_context.width, stream.codec_context.height)
        width, height = (
            round(side * ratio / 2) * 2
            for side in (stream.codec_context.width, stream.codec_context.height)
        )
        for frame in container.decode(stream):
            small = frame.reformat(width, height, "rgb24", interpolation="AREA")
            found.append(torch.from_numpy(small.to_ndarray()))
            if len(found) == frames:
                break
    return torch.stack(found)


def decibels(picture, truth, *, border=0):
    """Peak signal-to-noise ratio of two pictures in 0 to 1, without *border* pixels each side."""
    inside = slice(border, -border or None)
    error = ((picture - truth)[..., inside, inside].double() ** 2).mean()
    return float(-10 * torch.log10(error + 1e-10))
