"""Uploads on their way in: announced, received in one piece or in parts, then stored.

    files/uploads/<id>/about.json     what was announced
    files/uploads/<id>/part-<n>       a part that has arrived whole
    files/uploads/<id>/incoming-*     bytes being received

All of it is on disk, so that an upload outlives a restart, and swept a day later.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Self

import orjson

from server.disk import write_private
from server.media.artifacts import Artifacts, StoredFile, file_path, new_token
from server.media.content_types import HEAD_BYTES, content_type, safe_file_name

KEPT = 24 * 3600.0  # seconds
MAX_PARTS = 10_000
_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")
_CHUNK = 2**20  # bytes


class UnknownUpload(Exception):
    """There is no such upload, or it was announced more than a day ago."""


class UploadTooLarge(Exception):
    """The upload is larger than this server takes."""


class MissingParts(Exception):
    """The upload was completed with parts that never arrived."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An announced upload."""

    id: str
    """Unguessable: it stands in for a key where the client sends none."""
    token: str
    """Of the file it will become."""
    file_name: str
    ttl: float | None
    """Seconds the file is kept."""

    @property
    def path(self) -> str:
        """URL path of the file it will become."""
        return file_path(self.token, self.file_name)


class Incoming:
    """Bytes being written to disk, counted and hashed as they come; a `with` drops what is left.

    Args:
        path: Where they go.
        limit: Bytes it may become.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self.path = path
        self.size = 0
        self.head = b""
        self._limit = limit
        self._sha256 = hashlib.sha256()
        self._file: BinaryIO = path.open("xb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        """Hash of what was written, in hexadecimal."""
        return self._sha256.hexdigest()

    def write(self, data: bytes) -> None:
        """Append *data*.

        Raises:
            UploadTooLarge: If that is more than the limit.
        """
        self.size += len(data)
        if self.size > self._limit:
            msg = f"the upload is larger than {self._limit} bytes"
            raise UploadTooLarge(msg)
        if len(self.head) < HEAD_BYTES:
            self.head += data[: HEAD_BYTES - len(self.head)]
        self._sha256.update(data)
        self._file.write(data)

    def close(self) -> None:
        """End the writing; the file is left where it is."""
        self._file.close()


class Uploads:
    """The uploads under way.

    Args:
        root: Their folder; made if it is missing. On the artifacts' file system.
        artifacts: Where completed ones go.
        limit: Bytes an upload may have in all.
        clock: Unix seconds.
    """

    def __init__(
        self,
        root: Path,
        artifacts: Artifacts,
        limit: int,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._root = root
        self._artifacts = artifacts
        self._limit = limit
        self._clock = clock
        root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def announce(self, file_name: str, ttl: float | None) -> Upload:
        """Begin an upload."""
        upload = Upload(secrets.token_urlsafe(24), new_token(), safe_file_name(file_name), ttl)
        folder = self._root / upload.id
        folder.mkdir(mode=0o700)
        write_private(folder / "about.json", orjson.dumps(asdict(upload)))
        return upload

    def find(self, id: str) -> Upload:
        """Return the upload *id*.

        Raises:
            UnknownUpload: If there is none.
        """
        about = self._root / id / "about.json"
        if not _ID.fullmatch(id) or not about.exists():
            raise UnknownUpload(UnknownUpload.__doc__)
        return Upload(**orjson.loads(about.read_bytes()))

    def receive(self, upload: Upload) -> Incoming:
        """Open a place for bytes of *upload*, at most as many as are still allowed."""
        folder = self._root / upload.id
        here = sum(path.stat().st_size for path in folder.glob("part-*"))
        return Incoming(folder / f"incoming-{secrets.token_hex(8)}", self._limit - here)

    def keep_part(self, upload: Upload, number: int, incoming: Incoming) -> str:
        """Keep what was received as part *number*, in place of an earlier one; return its etag.

        Raises:
            ValueError: If *number* is not 1 to `MAX_PARTS`.
        """
        if not 1 <= number <= MAX_PARTS:
            msg = f"part numbers are 1 to {MAX_PARTS}, got {number}"
            raise ValueError(msg)
        incoming.close()
        incoming.path.replace(self._root / upload.id / f"part-{number}")
        return incoming.sha256[:32]

    def complete(self, upload: Upload, incoming: Incoming) -> StoredFile:
        """Store what was received as the whole file."""
        incoming.close()
        stored = self._artifacts.place(
            incoming.path,
            sha256=incoming.sha256,
            file_name=upload.file_name,
            content_type=content_type(incoming.head, upload.file_name),
            ttl=upload.ttl,
            token=upload.token,
        )
        # The announcement stays until it is swept: a client that missed the answer asks again.
        for part in (self._root / upload.id).glob("part-*"):
            part.unlink(missing_ok=True)
        return stored

    def assemble(self, upload: Upload, numbers: Sequence[int]) -> StoredFile:
        """Join the parts *numbers*, in ascending order however they are listed, and store them.

        Raises:
            MissingParts: If one of them has not arrived, or none are named.
        """
        folder = self._root / upload.id
        parts = [folder / f"part-{number}" for number in sorted(set(numbers))]
        if not parts or not all(part.exists() for part in parts):
            raise MissingParts(MissingParts.__doc__)
        with Incoming(folder / f"incoming-{secrets.token_hex(8)}", self._limit) as whole:
            for part in parts:
                _append(part, whole)
            return self.complete(upload, whole)

    def stored(self, upload: Upload) -> StoredFile | None:
        """Return the file that *upload* has become, or None while it is under way."""
        return self._artifacts.find(upload.token)

    def sweep(self) -> int:
        """Drop the uploads that were announced a day ago and never completed; return how many."""
        now = self._clock()
        old = [path for path in self._root.iterdir() if now - path.stat().st_mtime > KEPT]
        for path in old:
            shutil.rmtree(path, ignore_errors=True)
        return len(old)


def _append(part: Path, whole: Incoming) -> None:
    with part.open("rb") as file:
        while data := file.read(_CHUNK):
            whole.write(data)
