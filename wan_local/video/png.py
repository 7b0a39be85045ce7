"""One frame -> a PNG of 8 or 16 bits a channel (W3C PNG, third edition)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Levels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

UP = 2  # the filter that keeps each byte's difference to the one above


def encode_png(frame: Levels, *, level: int, text: Mapping[str, str] | None = None) -> bytes:
    """Return the file of *frame* [height, width, 3], compressed with zlib's *level*.

    *text* goes into chunks of its own, in UTF-8, before the picture. Pillow would do, but knows
    no RGB of 16 bits.
    """
    height, width, _ = frame.shape
    rows = frame.astype(frame.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    filtered = np.full((height, 1 + rows.shape[1]), UP, dtype=np.uint8)
    filtered[0, 1:] = rows[0]
    filtered[1:, 1:] = rows[1:] - rows[:-1]  # modulo 256, as the format wants it
    head = struct.pack(">IIBBBBB", width, height, frame.itemsize * 8, 2, 0, 0, 0)
    texts = [
        # keyword, not compressed, no language, no translated keyword
        _chunk(b"iTXt", name.encode("latin-1") + b"\0\0\0\0\0" + words.encode())
        for name, words in (text or {}).items()
    ]
    data = zlib.compress(filtered.tobytes(), level)
    chunks = [_chunk(b"IHDR", head), *texts, _chunk(b"IDAT", data), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
