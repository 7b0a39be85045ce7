"""A zip of numbered pictures, written while the frames come."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from tests.watching import children
from wan_local.errors import EncodingFailed
from wan_local.geometry import Size
from wan_local.plan import EncodingSpec
from wan_local.video.sequences import SEQUENCES, SequenceWriter

SIZE = Size(64, 48)


def noise(frames, dtype=torch.uint8):
    top = 256 if dtype == torch.uint8 else 65536
    levels = np.random.default_rng(0).integers(0, top, (frames, 48, 64, 3))
    return torch.from_numpy(levels.astype(np.uint8 if top == 256 else np.uint16))


def write(path, frames, format="png8", **how):
    spec = EncodingSpec(format=format)
    with SequenceWriter(path, SIZE, fps=16, encoding=spec, **how) as pictures:
        for chunk in frames.split(4):
            pictures.write(chunk)
    return path


def test_every_frame_is_a_picture_in_its_place(tmp_path):
    """Whoever unpacks it sees the video's frames in order, to the level."""
    frames = noise(9)
    with zipfile.ZipFile(write(tmp_path / "a.zip", frames)) as archive:
        names = archive.namelist()
        pictures = [np.asarray(Image.open(io.BytesIO(archive.read(n)))) for n in names[1:]]

    assert ["metadata.json", *[f"frame.{n:04d}.png" for n in range(1, 10)]] == names
    assert np.array_equal(frames.numpy(), np.stack(pictures))


@pytest.mark.parametrize("format", SEQUENCES)
def test_the_same_frames_make_the_same_zip(tmp_path, format):
    """The date of writing is not in it, nor the order in which threads were ready."""
    frames = noise(9, torch.uint8 if format == "png8" else torch.uint16)
    one, two = (write(tmp_path / name, frames, format).read_bytes() for name in "ab")

    assert one == two


def test_the_zip_says_what_it_holds(tmp_path):
    """Pictures have no frame rate of their own."""
    write(tmp_path / "a.zip", noise(1), metadata={"comment": "a cat"})
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        about = json.loads(archive.read("metadata.json"))

    assert {"width": 64, "height": 48, "fps": 16, "comment": "a cat"} == about


@pytest.mark.parametrize("error", [RuntimeError, GeneratorExit, KeyboardInterrupt])
@pytest.mark.parametrize("chunks", [0, 1, 6])
def test_whatever_ends_the_block_leaves_no_file(tmp_path, error, chunks):
    """Half a zip is no zip."""
    spec = EncodingSpec(format="png8")
    with (
        pytest.raises(error),
        SequenceWriter(tmp_path / "a.zip", SIZE, fps=16, encoding=spec) as pictures,
    ):
        for _ in range(chunks):
            pictures.write(noise(4))
        raise error

    assert [] == list(tmp_path.iterdir())
    assert [] == children()


def test_a_folder_that_is_gone_is_a_sentence(tmp_path):
    """And no traceback."""
    with pytest.raises(EncodingFailed, match=r"could not be stored.*No such file"):
        write(tmp_path / "gone" / "a.zip", noise(1))


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    """Found in the thread, told to whoever writes or waits."""

    def full(*_):
        raise OSError(28, "No space left on device")

    spec = EncodingSpec(format="png8")
    with (
        pytest.raises(EncodingFailed, match="No space left on device"),
        SequenceWriter(tmp_path / "a.zip", SIZE, fps=16, encoding=spec) as pictures,
    ):
        monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
        for _ in range(50):
            pictures.write(noise(4))

    assert [] == list(tmp_path.iterdir())
