"""One frame -> an OpenEXR file: linear light in half floats (openexr.com, file layout).

Wan's frames are meant for a screen. They are brought to linear light through the curve of sRGB
(IEC 61966-2-1), with the primaries of Rec. 709, and the header says so.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import numpy.typing as npt

ZIPS = 2  # each line compressed on its own
HALF = 1
COLOUR_SPACE = "lin_rec709"
# x and y of red, green, blue and white.
REC_709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)


def _linear_light() -> npt.NDArray[np.float16]:
    levels = np.arange(65536) / 65535
    curve = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return curve.astype("<f2")


LINEAR = _linear_light()
"""The light of each 16-bit level."""


def encode_exr(
    frame: npt.NDArray[np.uint16], *, fps: float, text: Mapping[str, str] | None = None
) -> bytes:
    """Return the file of *frame* [height, width, 3]; *text* becomes string attributes."""
    height = frame.shape[0]
    # Line by line, and in it plane by plane: blue, green, red.
    lines = [_packed(line) for line in LINEAR[frame].transpose(0, 2, 1)[:, ::-1]]
    head = _header(frame.shape[1], height, fps, text or {})
    place, offsets, chunks = len(head) + 8 * height, [], []
    for number, line in enumerate(lines):
        offsets.append(place)
        chunks.append(struct.pack("<ii", number, len(line)) + line)
        place += len(chunks[-1])
    return head + struct.pack(f"<{height}Q", *offsets) + b"".join(chunks)


def _packed(line: npt.NDArray[np.float16]) -> bytes:
    """Compress one line as the format's ZIP does: low and high bytes apart, then differences."""
    raw = np.frombuffer(line.tobytes(), dtype=np.uint8)
    apart = np.concatenate([raw[0::2], raw[1::2]])
    steps = apart.copy()
    steps[1:] = apart[1:] - apart[:-1] + np.uint8(128)
    packed = zlib.compress(steps.tobytes(), 4)
    return packed if len(packed) < raw.size else raw.tobytes()


def _header(width: int, height: int, fps: float, text: Mapping[str, str]) -> bytes:
    window = struct.pack("<iiii", 0, 0, width - 1, height - 1)
    rate = Fraction(fps).limit_denominator(1001)
    # name, pixel type, not to be taken for linear by quantisers, reserved, sampling
    channels = b"".join(
        name + b"\0" + struct.pack("<iB3xii", HALF, 0, 1, 1) for name in (b"B", b"G", b"R")
    )
    attributes = [
        ("channels", "chlist", channels + b"\0"),
        ("chromaticities", "chromaticities", struct.pack("<8f", *REC_709)),
        ("compression", "compression", bytes([ZIPS])),
        ("dataWindow", "box2i", window),
        ("displayWindow", "box2i", window),
        ("framesPerSecond", "rational", struct.pack("<iI", rate.numerator, rate.denominator)),
        ("lineOrder", "lineOrder", b"\0"),
        ("oiio:ColorSpace", "string", COLOUR_SPACE.encode()),
        ("pixelAspectRatio", "float", struct.pack("<f", 1)),
        ("screenWindowCenter", "v2f", struct.pack("<ff", 0, 0)),
        ("screenWindowWidth", "float", struct.pack("<f", 1)),
        *((name, "string", words.encode()) for name, words in text.items()),
    ]
    written = [
        name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value
        for name, kind, value in attributes
    ]
    return struct.pack("<ii", 20000630, 2) + b"".join(written) + b"\0"
