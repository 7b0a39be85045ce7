import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests.wan_local.media.files import in_memory, png_of_zeros
from wan_local.media.pictures import FORMATS, is_picture, open_picture
from wan_local.media.refusal import Refusal

LIMITS = {"image_pixels": 64_000_000}
RED = (200, 30, 60)
ORIENTATION = 0x0112


def pixel(image, at=(0, 0), **options) -> tuple[int, ...]:
    """Return a pixel of *image* after a journey through a PNG."""
    return open_picture(in_memory(image, "PNG", **options), LIMITS).getpixel(at)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_of_the_table_is_read(format):
    """By its bytes: no name is ever looked at."""
    file = in_memory(Image.new("RGB", (40, 30), RED), format)

    head = file.getvalue()[:64]
    image = open_picture(file, LIMITS)

    assert is_picture(head)
    assert ("RGB", (40, 30)) == (image.mode, image.size)
    assert np.allclose(RED, image.getpixel((20, 15)), atol=6)


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"II*\x00", "TIFF"),
        (b"<svg xmlns=", "SVG"),
        (b"%PDF-1.7", "PDF"),
        (b"8BPS", "Photoshop"),
        (b"%!PS-Adobe", "PostScript, which Pillow would hand to Ghostscript"),
        (b"", "nothing"),
    ],
)
def test_other_formats_are_not_pictures(head, what):
    """Pillow has dozens of parsers, and each is a way in."""
    assert not is_picture(head)


def test_a_photograph_is_turned_as_the_camera_was_held():
    """EXIF orientation 6: the camera was held upright, the sensor's rows are columns."""
    image = Image.new("RGB", (40, 20), RED)
    exif = image.getexif()
    exif[ORIENTATION] = 6

    turned = open_picture(in_memory(image, "JPEG", exif=exif), LIMITS)

    assert (20, 40) == turned.size


def test_what_shows_through_is_white():
    """Cut-outs are made for a white page; black would be a night scene to the model."""
    half = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    half.putpixel((1, 0), (*RED, 255))

    assert (255, 255, 255) == pixel(half)
    assert RED == pixel(half, (1, 0))
    assert (255, 255, 255) == pixel(Image.new("LA", (2, 2), (0, 0)))


def test_a_palette_with_a_transparent_colour_is_flattened_too():
    """A GIF or a small PNG marks one entry of its palette."""
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, *RED])

    assert RED == pixel(image)
    assert (255, 255, 255) == pixel(image, transparency=1)


def test_sixteen_bits_of_grey_keep_their_middle():
    """Depth maps and scans: Pillow's own conversion makes all above 255 of 65535 white."""
    ramp = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)

    read = open_picture(in_memory(Image.fromarray(ramp), "PNG"), LIMITS)

    assert np.array_equal(ramp >> 8, np.asarray(read)[..., 1])


def test_ink_becomes_light():
    """A print shop's JPEG is CMYK."""
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))

    red, green, blue = open_picture(in_memory(cyan, "JPEG"), LIMITS).getpixel((4, 4))

    assert red < 30
    assert min(green, blue) > 200


def test_an_embedded_profile_is_read():
    """A profile that says sRGB changes nothing, whichever way it is written."""
    image = Image.new("RGB", (8, 8), RED)
    same = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    assert np.allclose(RED, pixel(image, icc_profile=same), atol=1)


def test_a_profile_that_is_no_profile_counts_for_nothing():
    """Browsers show such pictures as well."""
    assert RED == pixel(Image.new("RGB", (8, 8), RED), icc_profile=b"not a profile")


def test_only_the_first_picture_of_an_animation_is_taken():
    """An image field means one picture."""
    frames = [Image.new("RGB", (8, 8), (value, 0, 0)) for value in (250, 10)]

    file = in_memory(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)

    assert open_picture(file, LIMITS).getpixel((0, 0))[0] > 240


@pytest.mark.parametrize("format", FORMATS)
def test_a_picture_that_breaks_off_is_refused(format):
    """Half a picture would be a grey half in the video."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = in_memory(Image.fromarray(noise), format).getvalue()

    with pytest.raises(Refusal, match="damaged or incomplete") as refused:
        open_picture(io.BytesIO(whole[: len(whole) // 2]), LIMITS)

    assert "image_load_error" == refused.value.type


def test_a_bomb_is_refused_by_its_header():
    """13 300 × 13 300 white pixels are 22 KB as a PNG, and 863 MB once decoded."""
    with pytest.raises(Refusal, match="at most 64 million pixels") as refused:
        open_picture(io.BytesIO(png_of_zeros(13_300, 13_300)), LIMITS)

    assert "image_too_large" == refused.value.type
    assert {"max_height": 8000, "max_width": 8000} == refused.value.ctx
