"""Our EXR writer against ffmpeg's reader."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from wan_local.video.exr import COLOUR_SPACE, LINEAR, encode_exr

NOISE = np.random.default_rng(0)


def read(content):
    """Return the picture as ffmpeg reads it: float16 [height, width, red green blue]."""
    with av.open(io.BytesIO(content), format="exr_pipe") as container:
        picture = next(container.decode(video=0))
        assert "gbrpf16le" == picture.format.name
        planes = [np.frombuffer(bytes(picture.planes[i]), np.float16) for i in (2, 0, 1)]
        width = picture.planes[0].line_size // 2
    return np.stack([p.reshape(picture.height, width)[:, : picture.width] for p in planes], -1)


@pytest.mark.parametrize(("width", "height"), [(8, 6), (33, 5), (1, 1)])
@pytest.mark.parametrize("kind", ["noise", "flat"])
def test_light_comes_back_as_it_went(width, height, kind):
    """Noise does not compress and is stored raw; a flat line compresses to almost nothing."""
    frame = NOISE.integers(0, 65536, (height, width, 3), dtype=np.uint16)
    if kind == "flat":
        frame[:] = 1234, 40000, 65535
    back = read(encode_exr(frame, fps=16))

    assert np.array_equal(LINEAR[frame], back)


def test_levels_become_light_through_the_curve_of_srgb():
    """Middle grey on a screen is about a fifth of the light of white."""
    assert (0, 1) == (LINEAR[0], LINEAR[65535])
    assert 0.214 == pytest.approx(LINEAR[32768], abs=0.001)
    assert np.all(np.diff(LINEAR.astype(float)) >= 0)


def test_the_header_says_which_light_it_is():
    """A compositor that guesses applies a curve twice."""
    content = encode_exr(np.zeros((2, 2, 3), np.uint16), fps=23.976, text={"comments": "a cat"})

    assert b"oiio:ColorSpace\0string\0" in content
    assert COLOUR_SPACE.encode() in content
    assert b"chromaticities\0" in content
    assert b"a cat" in content
