"""What a stored file is served as: decided by its first bytes and by our own table.

The type a client claims is not believed: huggingface_hub labels PNG bytes as JPEG, and a file
served as HTML from here would run in the origin of the API. To serve another type, add a row.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

HEAD_BYTES = 512
"""How much of a file `content_type` wants to see."""
UNKNOWN = "application/octet-stream"

# (offset, magic bytes, type); the first that fits wins.
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (8, b"WAVE", "audio/wav"),
    (8, b"AVI ", "video/x-msvideo"),
    (4, b"ftypqt", "video/quicktime"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"OggS", "audio/ogg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"%PDF-", "application/pdf"),
)

# By the ending of the name, for what has no magic bytes. None of these runs in a browser.
_ENDINGS = {
    ".txt": "text/plain; charset=utf-8",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".mp3": "audio/mpeg",
    ".aac": "audio/aac",
}

OUTPUT_TYPES = {
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".mkv": "video/x-matroska",
    ".zip": "application/zip",
    ".jpg": "image/jpeg",
    ".png": "image/png",
}
"""By the ending that a plan gives its file; our own files need no sniffing."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_NAME = 120


def content_type(head: bytes, file_name: str) -> str:
    """Return the type to serve a file as.

    Args:
        head: Its first `HEAD_BYTES` bytes.
        file_name: Its name.
    """
    for offset, magic, type in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return type
    return _ENDINGS.get(PurePosixPath(file_name).suffix.lower(), UNKNOWN)


def shown_in_browser(type: str) -> bool:
    """Whether a browser may show the file in place instead of saving it."""
    return type.startswith(("image/", "video/", "audio/"))


def safe_file_name(name: str) -> str:
    """Return *name* as one path segment of a URL: ASCII letters, digits, dots, dashes."""
    cleaned = _UNSAFE.sub("_", name.replace("\\", "/").rsplit("/", 1)[-1]).lstrip(".")
    stem, dot, ending = cleaned.rpartition(".")
    if not dot or len(ending) > 12:
        return cleaned[:_LONGEST_NAME] or "file"
    return f"{stem[: _LONGEST_NAME - len(ending) - 1]}.{ending}"
