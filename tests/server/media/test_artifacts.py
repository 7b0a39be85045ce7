"""The store of files."""

from __future__ import annotations

import hashlib

import pytest

from server.media.artifacts import Artifacts, WrongHash


@pytest.fixture
def clock():
    return [1000.0]


@pytest.fixture
def artifacts(tmp_path, clock):
    return Artifacts(tmp_path / "files", clock=lambda: clock[0])


def take(artifacts, tmp_path, content=b"video", **changes):
    source = tmp_path / "part"
    source.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    given = {"sha256": sha256, "file_name": "a.mp4", "content_type": "video/mp4"} | changes
    return artifacts.take(source, **given)


def test_a_file_is_found_by_its_token(artifacts, tmp_path):
    """The way every output reaches its client."""
    stored = take(artifacts, tmp_path)

    assert stored == artifacts.find(stored.token)
    assert f"/cdn/files/{stored.token}/a.mp4" == stored.path
    assert b"video" == artifacts.blob(stored).read_bytes()
    assert (5, "video/mp4") == (stored.size_bytes, stored.content_type)
    assert not (tmp_path / "part").exists()


def test_tokens_cannot_be_guessed_from_one_another(artifacts, tmp_path):
    """The token is all that protects a file: 192 bits, new each time."""
    tokens = {take(artifacts, tmp_path).token for _ in range(20)}

    assert 20 == len(tokens)
    assert {32} == {len(token) for token in tokens}


def test_a_damaged_file_is_not_taken(artifacts, tmp_path):
    """A half-written video must never be handed out as a result."""
    with pytest.raises(WrongHash, match="not 0000"):
        take(artifacts, tmp_path, sha256="0" * 64)

    assert (tmp_path / "part").exists()


def test_equal_bytes_are_kept_once_until_the_last_use_ends(artifacts, tmp_path):
    """The same input picture comes with every take of a shot."""
    first, second = take(artifacts, tmp_path), take(artifacts, tmp_path)
    blob = artifacts.blob(first)

    assert artifacts.blob(second) == blob
    assert first.token != second.token

    artifacts.drop(first.token)
    assert artifacts.find(first.token) is None
    assert b"video" == blob.read_bytes()

    artifacts.drop(second.token)
    assert not blob.exists()


def test_dropping_twice_is_nothing(artifacts, tmp_path):
    """The sweep and a forgotten job may meet over one file."""
    first, second = take(artifacts, tmp_path), take(artifacts, tmp_path)
    artifacts.drop(first.token)
    artifacts.drop(first.token)

    assert artifacts.blob(second).exists()


def test_a_file_expires(artifacts, tmp_path, clock):
    """`X-Fal-Object-Lifecycle-Preference` is a promise to delete."""
    brief, kept = take(artifacts, tmp_path, b"brief", ttl=60), take(artifacts, tmp_path, b"kept")
    clock[0] += 60

    assert artifacts.find(brief.token) is None
    assert 1 == artifacts.sweep()
    assert not artifacts.blob(brief).exists()
    assert kept == artifacts.find(kept.token)
    assert 0 == artifacts.sweep()


def test_files_survive_a_restart(artifacts, tmp_path, clock):
    """URLs are kept in databases and documents."""
    stored = take(artifacts, tmp_path, ttl=60)
    again = Artifacts(tmp_path / "files", clock=lambda: clock[0])

    assert stored == again.find(stored.token)

    clock[0] += 60
    assert 1 == again.sweep()


def test_a_crash_between_bytes_and_entry_leaves_nothing_for_long(artifacts, tmp_path):
    """Bytes without an entry can never be reached; they would fill the disk for ever."""
    stored = take(artifacts, tmp_path)
    (tmp_path / "files" / "index" / f"{stored.token}.json").unlink()

    assert artifacts.blob(stored).exists()
    assert Artifacts(tmp_path / "files").find(stored.token) is None
    assert not artifacts.blob(stored).exists()


@pytest.mark.parametrize("token", ["", "x", "../index/x", "a" * 1000, "\x00"])
def test_an_unknown_token_finds_nothing(artifacts, token):
    """Tokens come from URLs; none of them is ever used as a path."""
    assert artifacts.find(token) is None
