"""The files that jobs wait with: fetched, uploaded or sent along, once each by their SHA-256.

    inputs/<sha256>       a file that a live job needs, or needed a moment ago
    inputs/incoming-*     bytes being received

They are for this machine alone: no URL leads to them.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Collection
from pathlib import Path

from server.disk import sync_file, sync_folder
from server.media.uploads import Incoming

SPARED = 3600.0
"""Seconds for which a file stays that no job is known to need: it may just be being prepared."""


class Inputs:
    """The folder.

    Args:
        root: Where; made if it is missing. On the artifacts' file system.
        clock: Unix seconds.
    """

    def __init__(self, root: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._root = root.absolute()
        self._clock = clock
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def receive(self, limit: int) -> Incoming:
        """Open a place for at most *limit* bytes."""
        return Incoming(self._root / f"incoming-{secrets.token_hex(8)}", limit)

    def keep(self, incoming: Incoming) -> Path:
        """Keep what was received, and return where."""
        incoming.close()
        sync_file(incoming.path)
        path = self._root / incoming.sha256
        incoming.path.replace(path)
        sync_folder(self._root)
        return path

    def link(self, blob: Path, sha256: str) -> Path:
        """Keep *blob*, a stored file of ours, for as long as a job needs it; costs no copy."""
        path = self._root / sha256
        second = self._root / f"incoming-{secrets.token_hex(8)}"
        os.link(blob, second)
        # Replaced rather than tested for: the sweeper may take it between a test and its use.
        second.replace(path)
        second.unlink(missing_ok=True)  # both names were one file already, and stayed
        os.utime(path, (self._clock(), self._clock()))
        return path

    def sweep(self, needed: Collection[str]) -> int:
        """Drop what none of *needed*, SHA-256s, is and nobody has touched lately; return how many.

        What a stopped server was receiving goes the same way.
        """
        old = [
            path
            for path in self._root.iterdir()
            if path.name not in needed and self._clock() - path.stat().st_mtime > SPARED
        ]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)
