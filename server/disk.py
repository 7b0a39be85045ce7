"""Writes that are whole or not there, whatever happens in the middle of them; full disks."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path


def write_private(path: Path, content: bytes) -> None:
    """Replace *path* with *content* in one step; the file is readable by its owner only."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def is_full(error: Exception) -> bool:
    """Return whether *error* says that a disk, or the share of it that we may have, is full."""
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}


def sync_file(path: Path) -> None:
    """Return once *path*'s bytes would survive a power cut."""
    _sync(path, os.O_RDONLY)


def sync_folder(folder: Path) -> None:
    """Return once the names in *folder* would survive a power cut: a rename alone does not."""
    _sync(folder, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
