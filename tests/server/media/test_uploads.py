"""Uploads on their way in."""

from __future__ import annotations

import os

import pytest

from server.media.artifacts import Artifacts
from server.media.uploads import (
    KEPT,
    MAX_PARTS,
    MissingParts,
    UnknownUpload,
    Uploads,
    UploadTooLarge,
)

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 1000


@pytest.fixture
def artifacts(tmp_path):
    return Artifacts(tmp_path)


@pytest.fixture
def uploads(tmp_path, artifacts):
    return Uploads(tmp_path / "uploads", artifacts, limit=2000)


def part(uploads, upload, number, content):
    with uploads.receive(upload) as incoming:
        incoming.write(content)
        return uploads.keep_part(upload, number, incoming)


def left(tmp_path):
    """What is on disk of the uploads, besides the announcement."""
    files = [path for path in (tmp_path / "uploads").rglob("*") if path.is_file()]
    return [path.name for path in files if path.name != "about.json"]


def test_a_file_in_one_piece(uploads, artifacts, tmp_path):
    """The URL was given out before the first byte came, so it must be the one announced."""
    upload = uploads.announce("my cat.jpg", 60)
    with uploads.receive(upload) as incoming:
        incoming.write(PNG[:3])
        incoming.write(PNG[3:])
        stored = uploads.complete(upload, incoming)

    assert upload.path == stored.path
    assert ("my_cat.jpg", "image/png") == (stored.file_name, stored.content_type)
    assert PNG == artifacts.blob(stored).read_bytes()
    assert [] == left(tmp_path)


def test_parts_come_in_any_order(uploads, artifacts, tmp_path):
    """Python sends ten at once, and lists them as they finished."""
    upload = uploads.announce("a.bin", None)
    for number in (3, 1, 2):
        part(uploads, upload, number, str(number).encode() * 4)
    stored = uploads.assemble(upload, [3, 2, 1])

    assert b"111122223333" == artifacts.blob(stored).read_bytes()
    assert [] == left(tmp_path)


def test_a_part_sent_again_replaces_the_first(uploads, artifacts):
    """A client that saw no answer sends it again."""
    upload = uploads.announce("a.bin", None)
    first, second = part(uploads, upload, 1, b"old"), part(uploads, upload, 1, b"new")

    assert first != second
    assert b"new" == artifacts.blob(uploads.assemble(upload, [1, 1])).read_bytes()


def test_a_missing_part_is_noticed(uploads):
    """A video with a hole in it would fail much later and far away."""
    upload = uploads.announce("a.bin", None)
    part(uploads, upload, 1, b"x")

    with pytest.raises(MissingParts):
        uploads.assemble(upload, [1, 2])
    with pytest.raises(MissingParts):
        uploads.assemble(upload, [])


@pytest.mark.parametrize("number", [0, -1, MAX_PARTS + 1])
def test_part_numbers_have_a_range(uploads, number):
    """Each part is a file: their number is the disk's business too."""
    upload = uploads.announce("a.bin", None)

    with pytest.raises(ValueError, match="part numbers"):
        part(uploads, upload, number, b"x")


def test_the_limit_counts_bytes_as_they_come(uploads, tmp_path):
    """A declared length may lie, or be absent."""
    upload = uploads.announce("a.bin", None)
    with pytest.raises(UploadTooLarge, match="2000"), uploads.receive(upload) as incoming:
        for _ in range(100):
            incoming.write(b"x" * 999)

    assert [] == left(tmp_path)


def test_the_limit_holds_for_all_parts_together(uploads):
    """Otherwise ten thousand parts would be ten thousand files of the largest size."""
    upload = uploads.announce("a.bin", None)
    part(uploads, upload, 1, b"x" * 1500)

    with pytest.raises(UploadTooLarge):
        part(uploads, upload, 2, b"x" * 501)


def test_an_upload_survives_a_restart(uploads, artifacts, tmp_path):
    """Ten gigabytes on a slow line should not begin again."""
    upload = uploads.announce("a.bin", 60)
    part(uploads, upload, 1, b"x")
    again = Uploads(tmp_path / "uploads", artifacts, limit=2000)

    assert upload == again.find(upload.id)
    assert 60 == again.assemble(upload, [1]).expires_at - artifacts.find(upload.token).created_at


@pytest.mark.parametrize("id", ["", "x", "..", "a" * 32, "../../../../etc/passwd", "a/" * 10])
def test_an_unknown_upload_is_unknown(uploads, id):
    """Ids come from URLs, and one that is no id must not be looked up as a path."""
    with pytest.raises(UnknownUpload):
        uploads.find(id)


def test_a_completed_upload_is_remembered(uploads):
    """A client that missed the answer to its last call makes it again."""
    upload = uploads.announce("a.bin", None)
    part(uploads, upload, 1, b"x")

    assert uploads.stored(upload) is None
    stored = uploads.assemble(upload, [1])

    assert stored == uploads.stored(uploads.find(upload.id))


def test_abandoned_uploads_are_swept(uploads, tmp_path):
    """Closed laptops would fill the disk."""
    old, new = uploads.announce("a.bin", None), uploads.announce("b.bin", None)
    folder = tmp_path / "uploads" / old.id
    age = folder.stat().st_mtime - KEPT - 1
    os.utime(folder, (age, age))

    assert 1 == uploads.sweep()
    assert new == uploads.find(new.id)
    with pytest.raises(UnknownUpload):
        uploads.find(old.id)
