"""What a file says of how it was made: the comment in an MP4, MOV, MKV, PNG, JPEG or zip."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
from PIL import ExifTags, Image, UnidentifiedImageError

from wan_local.record import from_user_comment


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
            tags = picture.getexif().get_ifd(ExifTags.IFD.Exif)
            exif = tags.get(ExifTags.Base.UserComment)
    except (UnidentifiedImageError, OSError):
        return None
    comment = from_user_comment(exif) if isinstance(exif, bytes) else said.get("comment")
    if isinstance(comment, bytes):
        return comment.decode(errors="replace")
    return None if comment is None else str(comment)


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
