"""One frame -> a picture file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin

from wan_local.errors import EncodingFailed
from wan_local.plan import PictureFormat
from wan_local.record import to_user_comment
from wan_local.tensors import Frames

# Colours at full resolution, as a client sees single pixels of a picture, and few visible blocks.
JPEG = {"quality": 95, "subsampling": "4:4:4"}
MOST_EXIF = 60_000  # bytes; the segment has 65,533 and other entries


def write_picture(
    frame: Frames, output: Path, format: PictureFormat, *, comment: str | None = None
) -> None:
    """Write the one *frame* to *output*, whole and synced, or leave no file.

    Args:
        frame: Of [1, height, width, 3].
        output: Where the picture appears.
        format: Of the file, whatever it is called.
        comment: What the file says of itself, for those who look into it.

    Raises:
        EncodingFailed: If the disk is full or the folder is gone.
    """
    image = Image.fromarray(frame[0].numpy())
    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("wb") as file:
            image.save(file, format, **_options(format, comment))
            file.flush()
            os.fsync(file.fileno())
        part.replace(output)
        _sync(output.parent)
    except OSError as error:
        msg = f"the picture could not be written: {error}"
        raise EncodingFailed(msg) from error
    finally:
        part.unlink(missing_ok=True)


def _options(format: PictureFormat, comment: str | None) -> dict[str, Any]:
    if format == "jpeg":
        return JPEG | _exif(comment)
    said = PngImagePlugin.PngInfo()
    if comment:
        said.add_itxt("Comment", comment)
    return {"pnginfo": said}


def _exif(comment: str | None) -> dict[str, Any]:
    """Return the comment as Exif's UserComment.

    All of Exif has room for 64 KiB: a longer comment is left out, and its sidecar holds it.
    """
    words = to_user_comment(comment or "")
    if not comment or len(words) > MOST_EXIF:
        return {}
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = words
    return {"exif": exif}


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
