"""What a file says of how it was made: the comment in an MP4, MOV, MKV, PNG, JPEG or zip."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
from PIL import Image, UnidentifiedImageError

EXIF_IFD = 0x8769
USER_COMMENT = 0x9286
UNICODE = b"UNICODE\0"
"""What a comment in UTF-16 begins with (Exif 2.32, UserComment)."""


def comment_of(path: Path) -> str | None:
    """Return the comment in the file at *path*, or None if it has none that we can read.

    Raises:
        OSError: If it cannot be read at all.
    """
    with path.open("rb") as file:
        head = file.read(8)
    for magic, read in _READERS:
        if head.startswith(magic):
            return read(path)
    return _of_video(path)


def _of_video(path: Path) -> str | None:
    try:
        with av.open(str(path)) as container:
            tags = {name.lower(): text for name, text in container.metadata.items()}
    except av.FFmpegError:
        return None
    return tags.get("comment")


def _of_picture(path: Path) -> str | None:
    try:
        with Image.open(path) as picture:
            said = {str(name).lower(): text for name, text in picture.info.items()}
            exif = picture.getexif().get_ifd(EXIF_IFD).get(USER_COMMENT)
    except (UnidentifiedImageError, OSError):
        return None
    comment = _decoded(exif) if isinstance(exif, bytes) else said.get("comment")
    if isinstance(comment, bytes):
        return comment.decode(errors="replace")
    return None if comment is None else str(comment)


def _decoded(comment: bytes) -> str:
    code, text = comment[:8], comment[8:]
    return text.decode("utf-16-be" if code == UNICODE else "utf-8", errors="replace")


def _of_zip(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            comment = json.loads(archive.read("metadata.json")).get("comment")
    except (zipfile.BadZipFile, KeyError, ValueError, AttributeError):
        return None
    return None if comment is None else str(comment)


_READERS: tuple[tuple[bytes, Callable[[Path], str | None]], ...] = (
    (b"\x89PNG", _of_picture),
    (b"\xff\xd8\xff", _of_picture),
    (b"PK\x03\x04", _of_zip),
)
