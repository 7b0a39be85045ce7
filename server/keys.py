"""API keys, and the short-lived passes for uploads.

Keys live in one JSON file, as hashes. A secret is 256 random bits, so one round of SHA-256 keeps
it: slow hashes protect guessable passwords, and this one is checked by every poll, ten times a
second.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from server.disk import write_private

_NAME = re.compile(r"[\w .@-]{1,64}")


TRUST = 0.2
"""Seconds after which a change of the file counts, at the latest."""


class UnknownKey(Exception):
    """There is no API key with this id."""


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of one API key; the secret is not."""

    id: str
    name: str
    created_at: str
    """ISO 8601, UTC."""
    secret_sha256: str


class KeyRing:
    """The API keys of one server, in one file that the command line may change meanwhile.

    Args:
        path: The file; it need not be there.
        trust: Seconds for which what was read is believed without a look at the file.
    """

    def __init__(self, path: Path, *, trust: float = TRUST) -> None:
        self._path = path
        self._trust = trust
        self._look_again = 0.0
        self._lock = threading.Lock()
        self._version: tuple[int, int, int] | None = None
        self._keys: dict[str, Key] = {}

    @property
    def empty(self) -> bool:
        """Whether no key exists."""
        return not self._current()

    def list(self) -> list[Key]:
        """Return the keys, oldest first."""
        return list(self._current().values())

    def create(self, name: str) -> tuple[str, str]:
        """Make a key and return its id and its secret, which is shown this once.

        Raises:
            ValueError: If *name* is empty, longer than 64 characters or holds odd ones.
        """
        if not _NAME.fullmatch(name):
            msg = f"a key's name is 1 to 64 letters, digits, spaces or . @ - _, got {name!r}"
            raise ValueError(msg)
        id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._lock:
            keys = self._read()
            self._write({**keys, id: Key(id, name, now, _sha256(secret))})
        return id, secret

    def revoke(self, id: str) -> None:
        """Forget key *id*.

        Raises:
            UnknownKey: If there is none.
        """
        with self._lock:
            keys = self._read()
            if id not in keys:
                msg = f"there is no key {id!r}"
                raise UnknownKey(msg)
            self._write({key: value for key, value in keys.items() if key != id})

    def __contains__(self, id: str) -> bool:
        return id in self._current()

    def check(self, authorization: str | None) -> str | None:
        """Return the id of the key in an `Authorization` header, or None if it holds no valid one.

        Both `Key id:secret` and `Bearer id:secret` are understood.
        """
        scheme, _, credential = (authorization or "").partition(" ")
        id, _, secret = credential.strip().partition(":")
        key = self._current().get(id)
        # Hashed and compared even for an unknown id, so that time does not tell ids apart.
        expected = key.secret_sha256 if key else "0" * 64
        right = hmac.compare_digest(expected, _sha256(secret))
        return id if key and right and scheme.lower() in {"key", "bearer"} else None

    def _current(self) -> dict[str, Key]:
        # A key made or revoked by the command line counts within a moment. Not looked for on every
        # check: a system call lets go of the interpreter's lock, and winning it back from the
        # other threads took a status poll longer than everything else in it.
        now = time.monotonic()
        if now < self._look_again:
            return self._keys
        self._look_again = now + self._trust
        if _version(self._path) == self._version:
            return self._keys
        with self._lock:
            self._keys = self._read()
        return self._keys

    def _read(self) -> dict[str, Key]:
        self._version = _version(self._path)
        if self._version is None:
            return {}
        rows: list[dict[str, Any]] = orjson.loads(self._path.read_bytes())
        return {row["id"]: Key(**row) for row in rows}

    def _write(self, keys: dict[str, Key]) -> None:
        write_private(self._path, orjson.dumps(list(keys.values()), option=orjson.OPT_INDENT_2))
        self._keys, self._version = keys, _version(self._path)


class Passes:
    """Signed, expiring passes that stand for a key during uploads: fal's CDN tokens.

    They are signed rather than remembered, so that a client that holds one does not notice a
    restart of the server.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        if not path.exists():
            write_private(path, secrets.token_bytes(32))
        self._secret = path.read_bytes()

    def issue(self, owner: str, seconds: float) -> str:
        """Return a pass for *owner* that is good for *seconds*."""
        claim = f"{owner}.{int(self._clock() + seconds)}"
        return f"{claim}.{self._sign(claim)}"

    def check(self, token: str) -> str | None:
        """Return the owner of a valid pass, or None."""
        claim, _, signature = token.rpartition(".")
        if not hmac.compare_digest(self._sign(claim), signature):
            return None
        owner, _, expires = claim.rpartition(".")
        return owner if self._clock() < int(expires) else None

    def _sign(self, claim: str) -> str:
        return hmac.new(self._secret, claim.encode(errors="replace"), hashlib.sha256).hexdigest()


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = os.stat(path)  # noqa: PTH116 - half the time of Path.stat, on every request
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size
