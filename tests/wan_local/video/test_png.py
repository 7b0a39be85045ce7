"""Our PNG writer against Pillow's and ffmpeg's readers."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
from PIL import Image

from wan_local.video.png import encode_png

NOISE = np.random.default_rng(0)


@pytest.mark.parametrize("level", [0, 1, 9])
def test_eight_bits_come_back_to_the_level(level):
    """Lossless is a promise about every pixel."""
    frame = NOISE.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    back = np.asarray(Image.open(io.BytesIO(encode_png(frame, level=level))))

    assert np.array_equal(frame, back)


def test_sixteen_bits_come_back_to_the_level():
    """Read by ffmpeg, as an editor would: Pillow knows no such PNG."""
    frame = NOISE.integers(0, 65536, (6, 8, 3), dtype=np.uint16)
    with av.open(io.BytesIO(encode_png(frame, level=4)), format="png_pipe") as container:
        picture = next(container.decode(video=0))

    assert "rgb48be" == picture.format.name
    assert np.array_equal(frame, picture.to_ndarray(format="rgb48le"))


def test_text_is_readable_by_others():
    """ComfyUI and its like look for it there; any letters may stand in a prompt."""
    frame = np.zeros((2, 2, 3), dtype=np.uint8)
    picture = Image.open(io.BytesIO(encode_png(frame, level=1, text={"comment": "猫 = ;\n"})))

    assert "猫 = ;\n" == picture.info["comment"]
