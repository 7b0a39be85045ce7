"""A picture file -> upright RGB, inside the capped process. To take another format, add a row."""

from __future__ import annotations

import io
import warnings
from typing import Any, BinaryIO

from PIL import (
    AvifImagePlugin,
    GifImagePlugin,
    Image,
    ImageCms,
    ImageOps,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from wan_local.media.refusal import Refusal

# Imported one by one: Pillow would look for them when it meets a file, and by then no module can be
# opened any more. TIFF and MPO are not formats of their own here: EXIF is written in the one, and a
# phone's JPEG with a second view in it becomes the other.
FORMATS = [
    str(plugin.format)
    for plugin in (
        PngImagePlugin.PngImageFile,
        JpegImagePlugin.JpegImageFile,
        WebPImagePlugin.WebPImageFile,
        GifImagePlugin.GifImageFile,
        AvifImagePlugin.AvifImageFile,
    )
]
INSIDE_OTHERS = (TiffImagePlugin, MpoImagePlugin)
PICTURE_NAMES = ["jpg", "jpeg", "png", "webp", "gif", "avif"]

WHITE = (255, 255, 255)
_MAGIC = (
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"\xff\xd8\xff"),
    (8, b"WEBP"),
    (0, b"GIF8"),
    (4, b"ftypavif"),
    (4, b"ftypavis"),
)
# Pillow's parsers have no exception of their own: a wrong byte is any of these.
_DAMAGED = (OSError, ValueError, SyntaxError, LookupError, TypeError, EOFError, RuntimeError)


def is_picture(head: bytes) -> bool:
    """Return whether a file that begins with *head* is of one of the formats."""
    return any(head[at:].startswith(magic) for at, magic in _MAGIC)


def cap_pictures(limits: dict[str, Any]) -> None:
    """Make Pillow refuse what is too large, and decode on this thread alone."""
    Image.preinit()  # imports some more, which it would do at the first picture
    Image.MAX_IMAGE_PIXELS = limits["image_pixels"]
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def open_picture(file: BinaryIO, limits: dict[str, Any]) -> Image.Image:
    """Return the picture in *file*, the first if there are several: upright, RGB, on white.

    Raises:
        Refusal: If it is too large, damaged, or breaks off.
    """
    try:
        image = Image.open(file, formats=FORMATS)
        _check_size(image.size, limits)
        image.load()
        return as_rgb(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(limits) from None
    except _DAMAGED as error:
        msg = "The image cannot be decoded: it is damaged or incomplete"
        raise Refusal(msg, type="image_load_error") from error


def as_rgb(image: Image.Image) -> Image.Image:
    """Return *image* as 8-bit sRGB; what shows through is white, the ground of most cut-outs."""
    if image.mode.startswith("I"):
        # 16 bits of grey: Pillow's own conversion cuts off everything above 255.
        image = image.point(lambda value: value / 256).convert("L")
        image.info.pop("transparency", None)
    if not image.has_transparency_data:
        return _in_srgb(image)
    alpha = image.convert("RGBA").getchannel("A")
    ground = Image.new("RGB", image.size, WHITE)
    return Image.composite(_in_srgb(image), ground, alpha)


def _in_srgb(image: Image.Image) -> Image.Image:
    """Return the colours of *image* by its embedded profile: wide gamut, CMYK.

    One that cannot be read, or is not for these channels, counts for nothing, as in a browser.
    """
    profile = image.info.get("icc_profile")
    opaque = image if image.mode in {"RGB", "CMYK"} else image.convert("RGB")
    if profile:
        try:
            converted = ImageCms.profileToProfile(
                opaque,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None
        opaque = opaque if converted is None else converted
    return opaque.convert("RGB")


def _check_size(size: tuple[int, int], limits: dict[str, Any]) -> None:
    # Pillow warns of it as well, but only while some other library has not quietened its warnings.
    if size[0] * size[1] > limits["image_pixels"]:
        raise _too_large(limits)


def _too_large(limits: dict[str, Any]) -> Refusal:
    pixels = limits["image_pixels"]
    side = int(pixels**0.5)
    msg = f"The image is too large: at most {pixels // 10**6} million pixels are taken"
    return Refusal(msg, type="image_too_large", max_height=side, max_width=side)
