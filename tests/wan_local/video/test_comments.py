"""What goes into a file as its comment comes out of it again, letter for letter."""

from __future__ import annotations

import pytest
import torch
from PIL import ExifTags, Image

from wan_local.geometry import Size
from wan_local.plan import ENDINGS, EncodingSpec
from wan_local.record import to_user_comment
from wan_local.video.comments import comment_of
from wan_local.video.formats import CODECS, white_of
from wan_local.video.png import encode_png
from wan_local.video.sequences import SequenceWriter
from wan_local.video.writer import VideoWriter

ODD = '{"prompt":"猫 = ; # \\\\ \\"quoted\\"\nnext line, ünïcode","long":"' + "x" * 200_000 + '"}'
SIZE = Size(256, 128)


def frames(format):
    dtype = torch.uint16 if white_of(format) > 255 else torch.uint8
    return torch.zeros(2, SIZE.height, SIZE.width, 3).to(dtype)


@pytest.mark.parametrize("format", CODECS)
def test_every_container_keeps_a_comment(tmp_path, format):
    """Longer than a command line may be, with every letter that means something to ffmpeg."""
    path, spec = tmp_path / f"a{ENDINGS[format]}", EncodingSpec(format=format)
    with VideoWriter(path, SIZE, fps=16, encoding=spec, metadata={"comment": ODD}) as video:
        video.write(frames(format))

    assert ODD == comment_of(path)
    assert [path] == list(tmp_path.iterdir())


def test_a_zip_keeps_it_too(tmp_path):
    """In its first entry."""
    path, spec = tmp_path / "a.zip", EncodingSpec(format="png8")
    with SequenceWriter(path, SIZE, fps=16, encoding=spec, metadata={"comment": ODD}) as pictures:
        pictures.write(frames("png8"))

    assert ODD == comment_of(path)


@pytest.mark.parametrize("name", ["comment", "Comment"])
def test_a_png_has_it_as_text(tmp_path, name):
    """Under either spelling."""
    frame = torch.zeros(2, 2, 3, dtype=torch.uint8).numpy()
    (tmp_path / "a.png").write_bytes(encode_png(frame, level=1, text={name: "猫"}))

    assert "猫" == comment_of(tmp_path / "a.png")


@pytest.mark.parametrize("comment", [to_user_comment("猫"), b"\0" * 8 + "猫".encode()])
def test_a_jpeg_has_it_in_its_exif(tmp_path, comment):
    """In UTF-16, or without a word on its encoding."""
    picture = Image.new("RGB", (2, 2))
    exif = picture.getexif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    picture.save(tmp_path / "a.jpg", exif=exif)

    assert "猫" == comment_of(tmp_path / "a.jpg")


def test_a_jpegs_comment_segment_is_read_as_well(tmp_path):
    """The older place for it."""
    Image.new("RGB", (2, 2)).save(tmp_path / "a.jpg", comment="猫".encode())

    assert "猫" == comment_of(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    "content",
    [b"", b"text", b"\x89PNG and no more", b"\xff\xd8\xff", b"PK\x03\x04 broken", b"\0" * 100],
)
def test_what_says_nothing_is_not_an_error(tmp_path, content):
    """Somebody else's file, or half of one."""
    (tmp_path / "a").write_bytes(content)

    assert None is comment_of(tmp_path / "a")
