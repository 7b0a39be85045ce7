"""A chart of colours through every quality, write mode and format, and back.

    python -m benchmarks.colours

18 patches (bars, skin, greys) over 24 frames, decoded with the matrix of BT.709 in floating point,
so that no player's rounding is in it. Errors are in levels of 255, over the middle of each patch:
at its edges, halved colour planes mix neighbours by design.
"""

from __future__ import annotations

import tempfile
from itertools import product
from pathlib import Path
from typing import get_args

import av
import numpy as np
import torch

from benchmarks.recording import machine, record
from wan_local.geometry import Size
from wan_local.plan import ENDINGS, EncodingSpec, Quality, WriteMode
from wan_local.video.formats import CODECS, white_of
from wan_local.video.writer import VideoWriter

PATCH = 64  # pixels a side
EDGE = 16  # of each patch, left out
FRAMES = 24
COLOURS = np.array(
    [
        *[(191, 191, 191), (191, 191, 0), (0, 191, 191), (0, 191, 0), (191, 0, 191), (191, 0, 0)],
        *[(0, 0, 191), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)],
        *[(224, 172, 105), (141, 85, 36), (255, 219, 172), (64, 64, 64), (128, 128, 128)],
        (16, 32, 48),
    ]
)
CHART = COLOURS.reshape(3, 6, 3).repeat(PATCH, 0).repeat(PATCH, 1)


def main() -> None:
    """Run every case, print the table and write it down."""
    on, rows = machine(), []
    cases = [
        EncodingSpec(quality=quality, write_mode=mode)
        for quality, mode in product(get_args(Quality), get_args(WriteMode))
    ]
    others = [EncodingSpec(format=name, quality="maximum") for name in CODECS if name != "h264"]
    for spec in [*cases, *others]:
        rows.append(measure(spec))
        print(rows[-1], flush=True)
    print(record("colours", on, {"patches": len(COLOURS), "frames": FRAMES, "rows": rows}))


def measure(spec: EncodingSpec) -> dict[str, object]:
    """Write the chart and return how far it comes back from where it was."""
    white = white_of(spec.format)
    dtype = np.uint8 if white == 255 else np.uint16
    frame = torch.from_numpy(np.round(CHART / 255 * white).astype(dtype))
    size = Size(CHART.shape[1], CHART.shape[0])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"chart{ENDINGS[spec.format]}"
        with VideoWriter(path, size, fps=24, encoding=spec) as video:
            for _ in range(FRAMES):
                video.write(frame[None])
        size_bytes = path.stat().st_size
        with av.open(str(path)) as container:
            errors = np.stack([np.abs(decoded(f) - CHART) for f in container.decode(video=0)])
    middles = errors.reshape(len(errors), 3, PATCH, 6, PATCH, 3)
    middles = middles[:, :, EDGE:-EDGE, :, EDGE:-EDGE]
    return {
        "format": spec.format,
        "quality": spec.quality,
        "write_mode": spec.write_mode,
        "mean": round(float(middles.mean()), 3),
        "worst_patch": round(float(middles.mean((0, 2, 4, 5)).max()), 3),
        "max": round(float(middles.max()), 2),
        "bytes": size_bytes,
    }


def decoded(frame: av.VideoFrame) -> np.ndarray:
    """Return the frame as red, green and blue in levels of 255, not rounded."""
    if frame.format.name.startswith("gbrp"):
        return frame.to_ndarray(format="rgb48le") / 257
    bits = 12 if "12" in frame.format.name else 10 if "10" in frame.format.name else 8
    y, cb, cr = (plane(frame, index, bits) for index in range(3))
    y, cb, cr = (y - 16) / 219, (cb - 128) / 224, (cr - 128) / 224
    kr, kb = 0.2126, 0.0722
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return np.stack([red, green, blue], -1).clip(0, 1) * 255


def plane(frame: av.VideoFrame, index: int, bits: int) -> np.ndarray:
    """Return one plane in levels of 8 bits, halved ones doubled to the picture's size."""
    kept = frame.planes[index]
    raw = np.frombuffer(bytes(kept), np.uint8 if bits == 8 else np.uint16)
    levels = raw.reshape(kept.height, -1)[:, : kept.width] / 2 ** (bits - 8)
    return levels.repeat(frame.height // kept.height, 0).repeat(frame.width // kept.width, 1)


if __name__ == "__main__":
    main()
