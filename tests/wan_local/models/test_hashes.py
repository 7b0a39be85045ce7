"""Hashes of weights, read from the files only when nobody has written them down."""

from __future__ import annotations

import hashlib
import os
import time

import pytest

from wan_local.models.hashes import OURS, Hashes


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def vae(tmp_path):
    """A component with one file of weights."""
    folder = tmp_path / "model" / "vae"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"weights")
    return folder


def note(vae, digest, when):
    folder = vae.parent / ".cache" / "huggingface" / "download" / "vae"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors.metadata").write_text(f"{'c' * 40}\n{digest}\n{when}\n")


def test_one_file_has_the_hash_that_sha256sum_prints(vae):
    """So that it can be compared with what the publisher says."""
    assert sha256(b"weights") == Hashes().of(vae)


def test_shards_have_the_hash_of_their_hashes(vae):
    """In the order of their names, so that it is one and the same everywhere."""
    (vae / "another.safetensors").write_bytes(b"first")
    lines = f"{sha256(b'first')}\n{sha256(b'weights')}\n"

    assert sha256(lines.encode()) == Hashes().of(vae)


def test_a_file_is_read_once_and_written_down(vae):
    """28 GB take a while; the next process finds the note."""
    assert not Hashes().known(vae)
    digest = Hashes().of(vae)
    again = Hashes()

    assert again.known(vae)
    assert digest == again.of(vae)


def test_a_changed_file_is_read_again(vae):
    """A note about other weights would be a lie in every video's metadata."""
    hashes = Hashes()
    hashes.of(vae)
    (vae / "weights.safetensors").write_bytes(b"changed")
    os.utime(vae / "weights.safetensors", ns=(0, 12345))

    for one in (hashes, Hashes()):
        assert not one.known(vae)
        assert sha256(b"changed") == one.of(vae)
        (vae / OURS).unlink()


def test_what_hugging_face_checked_is_not_read_at_all(vae):
    """`hf download` compared the bytes with the hash when they came."""
    note(vae, "a" * 64, time.time() + 5)

    assert Hashes().known(vae)
    assert "a" * 64 == Hashes().of(vae)


@pytest.mark.parametrize(
    ("digest", "when"),
    [("a" * 64, 5.0), ("a" * 40, time.time() + 5), ("a" * 64, "soon")],
    ids=["older than the file", "hash of a small file", "not a time"],
)
def test_a_note_that_is_not_about_this_file_is_not_believed(vae, digest, when):
    """A file that was changed after its download, and a Git hash that is no SHA-256."""
    note(vae, digest, when)

    assert sha256(b"weights") == Hashes().of(vae)


def test_weights_on_a_read_only_disk_are_hashed_all_the_same(vae, tmp_path):
    """Root writes anywhere, so a folder stands where the note should go."""
    (vae / f"{OURS}.part").mkdir()

    assert sha256(b"weights") == Hashes().of(vae)


@pytest.mark.parametrize("content", ["", "[]", '{"weights.safetensors": 3}'])
def test_a_broken_note_is_no_note(vae, content):
    """Somebody edited it, or a disk was full."""
    (vae / OURS).write_text(content)

    assert sha256(b"weights") == Hashes().of(vae)
