"""The store of files: uploads and outputs, each kept once by its SHA-256.

    files/blobs/ab/<sha256>     the bytes, one copy however often they were stored
    files/index/<token>.json    one stored file: its name, type, hash and expiry

A file's URL holds a random token, never the hash: a file is public to whoever knows its URL and
nobody else, and storing a file tells nothing about whether somebody else has it.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from server.disk import sync_file, sync_folder, write_private
from server.media.content_types import safe_file_name

log = logging.getLogger(__name__)


class WrongHash(Exception):
    """The file is not what its hash says it is."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One stored file."""

    token: str
    """The unguessable part of its URL: 192 random bits."""
    file_name: str
    content_type: str
    size_bytes: int
    sha256: str
    created_at: float
    """Unix seconds, as is the next."""
    expires_at: float | None
    """None keeps it until it is dropped."""

    @property
    def path(self) -> str:
        """Path of its URL."""
        return file_path(self.token, self.file_name)


def file_path(token: str, file_name: str) -> str:
    """Return the URL path of the file *token*, called *file_name*."""
    return f"/cdn/files/{token}/{file_name}"


def new_token() -> str:
    """Return a token nobody can guess."""
    return secrets.token_urlsafe(24)


class Artifacts:
    """All stored files. Every method may be called from any thread.

    Args:
        root: Folder of the store; made if it is missing.
        clock: Unix seconds.
    """

    def __init__(self, root: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._blobs, self._index = root / "blobs", root / "index"
        self._clock = clock
        self._lock = threading.Lock()
        for folder in (self._blobs, self._index):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._files = {file.token: file for file in map(_read, self._index.glob("*.json"))}
        self._uses = Counter(file.sha256 for file in self._files.values())
        self._drop_strays()

    def take(
        self,
        source: Path,
        *,
        sha256: str,
        file_name: str,
        content_type: str,
        ttl: float | None = None,
    ) -> StoredFile:
        """Check *source* against its hash and move it into the store.

        Args:
            source: A file on the same file system; gone afterwards.
            sha256: Its hash in hexadecimal, as whoever wrote it says.
            file_name: What clients see; made safe for a URL.
            content_type: What it is served as.
            ttl: Seconds to keep it; None keeps it until it is dropped.

        Raises:
            WrongHash: If the hash differs; *source* stays where it is.
        """
        with source.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != sha256:
            msg = f"{source.name} has SHA-256 {actual}, not {sha256}"
            raise WrongHash(msg)
        return self.place(
            source, sha256=sha256, file_name=file_name, content_type=content_type, ttl=ttl
        )

    def place(
        self,
        source: Path,
        *,
        sha256: str,
        file_name: str,
        content_type: str,
        ttl: float | None = None,
        token: str | None = None,
    ) -> StoredFile:
        """Move *source* into the store; its hash was taken from the bytes as they were written.

        Args:
            source: As in `take`, like the rest.
            sha256: Its hash.
            file_name: What clients see.
            content_type: What it is served as.
            ttl: Seconds to keep it.
            token: Of the URL, where it was given out before the file was complete.
        """
        now = self._clock()
        stored = StoredFile(
            token=token or new_token(),
            file_name=safe_file_name(file_name),
            content_type=content_type,
            size_bytes=source.stat().st_size,
            sha256=sha256,
            created_at=now,
            expires_at=None if ttl is None else now + ttl,
        )
        sync_file(source)
        blob = self.blob(stored)
        with self._lock:
            self._move(source, blob)
            # The bytes before the entry: a crash in between leaves a stray blob, never a URL
            # without a file behind it.
            write_private(self._index / f"{stored.token}.json", orjson.dumps(asdict(stored)))
            self._files[stored.token] = stored
            self._uses[sha256] += 1
        return stored

    def find(self, token: str) -> StoredFile | None:
        """Return the file with this token, or None if there is none or it has expired."""
        file = self._files.get(token)
        return None if file is None or self._expired(file) else file

    def blob(self, file: StoredFile) -> Path:
        """Return where the bytes of *file* are."""
        return self._blobs / file.sha256[:2] / file.sha256

    def drop(self, token: str) -> None:
        """Forget the file, and its bytes if no other file has the same; unknown tokens pass."""
        with self._lock:
            file = self._files.pop(token, None)
            if file is None:
                return
            (self._index / f"{token}.json").unlink(missing_ok=True)
            self._uses[file.sha256] -= 1
            if self._uses[file.sha256] == 0:
                del self._uses[file.sha256]
                self.blob(file).unlink(missing_ok=True)

    def sweep(self) -> int:
        """Drop the files that have expired; return how many."""
        expired = [file.token for file in list(self._files.values()) if self._expired(file)]
        for token in expired:
            self.drop(token)
        return len(expired)

    def _move(self, source: Path, blob: Path) -> None:
        if blob.exists():
            source.unlink()
            return
        if not blob.parent.exists():
            blob.parent.mkdir(mode=0o700)
            sync_folder(self._blobs)
        source.replace(blob)
        sync_folder(blob.parent)

    def _expired(self, file: StoredFile) -> bool:
        return file.expires_at is not None and file.expires_at <= self._clock()

    def _drop_strays(self) -> None:
        strays = [path for path in self._blobs.glob("*/*") if path.name not in self._uses]
        for path in strays:
            path.unlink()
        if strays:
            log.info("%d files without an entry dropped: left over from a crash", len(strays))


def _read(path: Path) -> StoredFile:
    return StoredFile(**orjson.loads(path.read_bytes()))
