"""Whole files or none."""

from __future__ import annotations

import resource
import signal
import stat

import pytest

from server.disk import sync_file, sync_folder, write_private


def test_a_file_is_replaced_and_private(tmp_path):
    """Keys and passes go through here."""
    path = tmp_path / "keys.json"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, b"new")

    assert b"new" == path.read_bytes()
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    """A full disk must not cost the keys that were already made."""
    path = tmp_path / "keys.json"
    write_private(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_private(path, b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)

    assert b"old" == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


def test_files_and_folders_can_be_synced(tmp_path):
    """Both calls must accept what they are given; that they reach the platter cannot be seen."""
    file = tmp_path / "blob"
    file.write_bytes(b"x")

    sync_file(file)
    sync_folder(tmp_path)

    with pytest.raises(NotADirectoryError):
        sync_folder(file)
