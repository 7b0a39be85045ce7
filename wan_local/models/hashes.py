"""SHA-256 of a checkpoint's weights, without reading 28 GB for every video.

In this order: what `hf download` wrote down beside the file it checked; what we wrote down when
we last read it; the file itself, read once and then written down. A file whose size or time of
change is another than was written down is read again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

OURS = ".wan-local-sha256.json"
"""In the component's folder: file name -> [size, time of change in ns, SHA-256]."""
SHA256 = re.compile(r"[0-9a-f]{64}")
GRACE = 1.0  # seconds by which hf's clock may run behind the file's, as its own reader allows


@dataclass(slots=True)
class Hashes:
    """Hashes that this process has already looked up."""

    _known: dict[tuple[str, int, int], str] = field(default_factory=dict)

    def of(self, folder: Path) -> str:
        """Return the hash of the weights of the component in *folder*.

        Of one file, the file's own, as `sha256sum` prints it; of several, the hash of their
        hashes in the order of their names, each in hexadecimal and on a line.
        """
        hashes = [self._file(path) for path in sorted(folder.glob("*.safetensors"))]
        if len(hashes) == 1:
            return hashes[0]
        return hashlib.sha256("".join(f"{each}\n" for each in hashes).encode()).hexdigest()

    def known(self, folder: Path) -> bool:
        """Return whether `of` would answer without reading the weights."""
        return all(self._looked_up(path) for path in folder.glob("*.safetensors"))

    def _file(self, path: Path) -> str:
        if found := self._looked_up(path):
            return found
        log.info("hashing %s", path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._known[_key(path)] = digest
        _write_down(path, digest)
        return digest

    def _looked_up(self, path: Path) -> str | None:
        key = _key(path)
        found = self._known.get(key) or _hugging_faces(path) or _ours(path)
        if found:
            self._known[key] = found
        return found


def _key(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns


def _hugging_faces(path: Path) -> str | None:
    """Return what `hf download --local-dir` noted: commit, ETag, and when, on a line each.

    The ETag of a large file is its SHA-256.
    """
    root = path.parent.parent
    note = root / ".cache" / "huggingface" / "download" / path.relative_to(root)
    try:
        _, etag, when = note.with_name(f"{note.name}.metadata").read_text().split()
        fresh = path.stat().st_mtime <= float(when) + GRACE
    except (OSError, ValueError):
        return None
    return etag if fresh and SHA256.fullmatch(etag) else None


def _ours(path: Path) -> str | None:
    _, size, changed = _key(path)
    match _notes(path.parent).get(path.name):
        case [int(its_size), int(its_change), str(digest)] if (its_size, its_change) == (
            size,
            changed,
        ):
            return digest
    return None


def _notes(folder: Path) -> dict[str, object]:
    try:
        notes = json.loads((folder / OURS).read_text())
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def _write_down(path: Path, digest: str) -> None:
    _, size, changed = _key(path)
    notes = _notes(path.parent) | {path.name: [size, changed, digest]}
    part = path.parent / f"{OURS}.part"
    try:
        part.write_text(json.dumps(notes))
        part.replace(path.parent / OURS)
    except OSError as error:  # weights on a read-only disk: the next process reads them again
        log.warning("the hash of %s cannot be kept beside it: %s", path.name, error)
