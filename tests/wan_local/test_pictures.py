"""A picture file is what the frame was, whole or not there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from wan_local.errors import EncodingFailed
from wan_local.pictures import write_picture
from wan_local.video.comments import comment_of


@pytest.fixture
def frame():
    """Red to the left, a ramp of grey to the right."""
    frame = torch.zeros(1, 48, 64, 3, dtype=torch.uint8)
    frame[0, :, :32, 0] = 255
    frame[0, :, 32:] = torch.arange(48).view(48, 1, 1).byte() * 5
    return frame


def test_a_png_is_the_frame_to_the_bit(frame, tmp_path):
    """Clients who ask for PNG compare pixels."""
    write_picture(frame, tmp_path / "a.png", "png")

    with Image.open(tmp_path / "a.png") as image:
        assert "PNG" == image.format
        assert np.array_equal(frame[0].numpy(), np.array(image))
    assert ["a.png"] == [path.name for path in tmp_path.iterdir()]


def test_a_jpeg_keeps_the_edges_of_colours(frame, tmp_path):
    """With colours at half resolution, the two columns at the edge were up to 46 levels off."""
    write_picture(frame, tmp_path / "a.jpg", "jpeg")

    with Image.open(tmp_path / "a.jpg") as image:
        assert "JPEG" == image.format
        shown = np.array(image).astype(int)
    assert np.abs(frame[0].numpy() - shown).max() <= 16


@pytest.mark.parametrize("format", ["png", "jpeg"])
@pytest.mark.parametrize("comment", ["prompt: ein Käsekuchen", "猫" * 20_000])
def test_a_picture_can_say_where_it_comes_from(frame, tmp_path, format, comment):
    """The request in the file itself, for whoever finds it without its record."""
    write_picture(frame, tmp_path / "a", format, comment=comment)

    assert comment == comment_of(tmp_path / "a")


def test_a_comment_too_long_for_a_jpeg_is_left_out(frame, tmp_path):
    """The picture is what was asked for; a sidecar has room for the rest."""
    write_picture(frame, tmp_path / "a", "jpeg", comment="x" * 40_000)

    assert None is comment_of(tmp_path / "a")
    assert (tmp_path / "a").stat().st_size > 0


@pytest.mark.parametrize("format", ["png", "jpeg"])
def test_a_picture_that_cannot_be_written_leaves_nothing(frame, tmp_path, format):
    """A full disk fails the job with a sentence, and no half picture is served."""
    (tmp_path / "taken" / "file").mkdir(parents=True)
    with pytest.raises(EncodingFailed, match="the picture could not be written"):
        write_picture(frame, tmp_path / "taken", format)
    with pytest.raises(EncodingFailed, match="No such file"):
        write_picture(frame, tmp_path / "gone" / "a.png", format)

    assert ["taken"] == [path.name for path in tmp_path.iterdir()]
