"""A URL in a request -> a file on this machine.

`data:` URIs, files of our own store in every spelling a client may have for them, and, as far as
the operator allows it, http, https and paths.
"""

from __future__ import annotations

import binascii
import os
import re
import ssl
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote, unquote, unquote_to_bytes, urljoin, urlsplit

import httpcore

from server.media.addresses import GuardedBackend, Resolver
from server.media.artifacts import Artifacts
from server.media.content_types import content_type
from server.media.fetch_policy import FetchPolicy
from server.media.hurried import HurriedBackend
from server.media.inputs import Inputs
from server.media.tokens import Tokens
from server.media.uploads import Incoming, UploadTooLarge
from server.settings import Settings
from wan_local.errors import BadMedia

REDIRECTS = 5
SILENCE = 30.0
"""Seconds without a byte after which a download is given up."""
# One text for whatever is not allowed and whatever is not there: told apart, they would make a map
# of the network behind this server.
NOT_ALLOWED = (
    "URL not allowed or not reachable: this server fetches only what its operator has allowed "
    "(settings fetch_public, fetch_allow, fetch_roots); upload the file or send it as a data URI"
)
_OURS = re.compile(r"(?:/cdn)?/files/([A-Za-z0-9_-]{16,64})(?:/|$)")
_CHUNK = 2**20  # bytes
_HEADERS = [("Accept", "*/*"), ("Accept-Encoding", "identity"), ("User-Agent", "wan-local")]


class _Why(StrEnum):
    """Why a file that may be fetched could not be."""

    SLOW = "it took too long"
    BROKEN = "the connection broke off"
    REDIRECTS = f"more than {REDIRECTS} redirects"
    NO_COMMA = "a data URI has a comma before its data"
    BASE64 = "its base64 is damaged"


class NotWanted(Exception):
    """Whoever wanted the file does not want it any more."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that is here now."""

    path: Path
    sha256: str
    """Of its bytes, in hexadecimal."""
    content_type: str
    """By its bytes, not by what anybody says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Errand:
    url: str
    max_bytes: int
    wanted: Callable[[], bool]
    deadline: float
    """On the monotonic clock."""
    with_tokens: bool

    def go_on(self) -> None:
        if not self.wanted():
            raise NotWanted
        if time.monotonic() > self.deadline:
            raise _failed(_Why.SLOW)

    def left(self) -> float:
        """Return the seconds that the next step may take."""
        self.go_on()
        return min(SILENCE, max(0.001, self.deadline - time.monotonic()))


class Fetcher:
    """Brings files here. All methods may be called from any thread.

    Args:
        inputs: Where they are put.
        artifacts: Our own store.
        settings: What the operator allows.
        resolve: Name and port -> addresses; the system's resolver by default.
        tokens: What some sites want to see; those in *settings* by default.
    """

    def __init__(
        self,
        inputs: Inputs,
        artifacts: Artifacts,
        settings: Settings,
        *,
        resolve: Resolver | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        self._inputs = inputs
        self._artifacts = artifacts
        self._timeout = settings.fetch_timeout
        self._roots = tuple(root.resolve() for root in settings.fetch_roots)
        self._policy = FetchPolicy.parse(settings.fetch_allow, public=settings.fetch_public)
        self._tokens = tokens or Tokens.of(settings)
        self._tls = ssl.create_default_context()
        self._network = GuardedBackend(self._policy, resolve)

    def fetch(
        self,
        url: str,
        max_bytes: int,
        *,
        wanted: Callable[[], bool] = lambda: True,
        with_tokens: bool = False,
    ) -> Fetched:
        """Return the file at *url*.

        Args:
            url: As the client wrote it.
            max_bytes: What it may have.
            wanted: Asked now and then; the fetching ends once it says no.
            with_tokens: Whether the operator's tokens may be used. Not for pictures: whoever may
                submit requests would see those of the operator's private repositories.

        Raises:
            BadMedia: If it may not be fetched, cannot be, or is too large.
            NotWanted: If *wanted* said no.
        """
        deadline = time.monotonic() + self._timeout
        errand = _Errand(
            url=url,
            max_bytes=max_bytes,
            wanted=wanted,
            deadline=deadline,
            with_tokens=with_tokens,
        )
        if url[:5].lower() == "data:":
            return self._decode(errand)
        stored = self._stored(errand)
        if stored is not None:
            return stored
        if url.startswith("/") or url[:8].lower() == "file:///":
            return self._read(errand)
        return self._download(errand)

    # ── what is here ─────────────────────────────────────────────────────────────────────────────

    def _decode(self, errand: _Errand) -> Fetched:
        head, comma, data = errand.url[5:].partition(",")
        if not comma:
            raise _failed(_Why.NO_COMMA)
        if len(data) > 4 * errand.max_bytes:
            raise _too_large(errand.max_bytes)
        plain = unquote_to_bytes(data)
        if head.rpartition(";")[2].strip().lower() == "base64":
            try:
                plain = b64decode(b"".join(plain.split()), validate=True)
            except binascii.Error:
                raise _failed(_Why.BASE64) from None
        with self._inputs.receive(errand.max_bytes) as incoming:
            _write(incoming, plain, errand)
            return self._keep(incoming)

    def _stored(self, errand: _Errand) -> Fetched | None:
        """Return the stored file that *url* names, whatever host the client knows us by.

        The token in it is the secret, not the host: our own name, a proxy's, fal's in a hosts file.
        """
        try:
            found = _OURS.match(unquote(urlsplit(errand.url).path))
        except ValueError:
            return None
        file = self._artifacts.find(found[1]) if found else None
        if file is None:
            return None
        if file.size_bytes > errand.max_bytes:
            raise _too_large(errand.max_bytes)
        try:
            path = self._inputs.link(self._artifacts.blob(file), file.sha256)
        except FileNotFoundError:
            return None  # it expired a moment ago
        return Fetched(path, file.sha256, file.content_type)

    def _read(self, errand: _Errand) -> Fetched:
        """Copy a file out of one of the folders that the operator named."""
        name = unquote(errand.url[7:]) if errand.url[:5].lower() == "file:" else errand.url
        try:
            path = Path(name).resolve(strict=True)
            # Before it is opened: to open a device is to do something to it.
            if not self._may_read(path):
                raise _not_allowed()
            # Not blocking: a named pipe would hold this thread until somebody writes to it.
            file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
        except (OSError, RuntimeError, ValueError):
            raise _not_allowed() from None
        with file:
            # Of what is open, not of the name, which may lead elsewhere by now.
            opened = Path(f"/proc/self/fd/{file.fileno()}").readlink()
            if not self._may_read(opened):
                raise _not_allowed()
            with self._inputs.receive(errand.max_bytes) as incoming:
                while data := file.read(_CHUNK):
                    _write(incoming, data, errand)
                return self._keep(incoming)

    def _may_read(self, path: Path) -> bool:
        return any(path.is_relative_to(root) for root in self._roots) and path.is_file()

    # ── what is elsewhere ────────────────────────────────────────────────────────────────────────

    def _download(self, errand: _Errand) -> Fetched:
        url, address = errand.url, self._checked(errand.url)
        tokens = self._tokens.headers(address.origin) if errand.with_tokens else []
        for _ in range(REDIRECTS + 1):
            with self._answer(address, tokens, errand) as response:
                location = _header(response, b"location")
                if not (300 <= response.status < 400 and location):
                    return self._receive(response, errand)
                url = urljoin(url, location)
            before, address = address, self._checked(url)
            if address.origin != before.origin:
                tokens = []  # for good: whoever sent us away is not to say where a token goes
        raise _failed(_Why.REDIRECTS)

    def _receive(self, response: httpcore.Response, errand: _Errand) -> Fetched:
        if response.status != 200:
            why = f"the answer was {response.status}"
            raise _failed(why)
        with self._inputs.receive(errand.max_bytes) as incoming:
            for data in response.iter_stream():
                _write(incoming, data, errand)
            return self._keep(incoming)

    def _checked(self, url: str) -> httpcore.URL:
        """Return *url* as it will be requested, if its host may be looked up at all."""
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
            address = httpcore.URL(quote(url, safe=":/?#[]@!$&'()*+,;=%"))
        except (ValueError, UnicodeError):
            raise _not_allowed() from None
        fishy = (
            "@" in parts.netloc or "\\" in url or any(ord(c) <= 32 or ord(c) == 127 for c in url)
        )
        same = address.host.decode("ascii", "replace").strip("[]") == host
        web = address.scheme in {b"http", b"https"}
        if fishy or not web or not host or not same or not self._policy.names(host):
            raise _not_allowed()
        return address

    @contextmanager
    def _answer(
        self, url: httpcore.URL, tokens: list[tuple[str, str]], errand: _Errand
    ) -> Iterator[httpcore.Response]:
        backend = HurriedBackend(self._network, errand.left)
        pool = httpcore.ConnectionPool(ssl_context=self._tls, network_backend=backend)
        try:
            with pool, pool.stream("GET", url, headers=[*_HEADERS, *tokens]) as response:
                yield response
        except (httpcore.ConnectError, httpcore.ConnectTimeout):
            raise _not_allowed() from None
        except httpcore.TimeoutException:
            raise _failed(_Why.SLOW) from None
        except (httpcore.NetworkError, httpcore.ProtocolError):
            raise _failed(_Why.BROKEN) from None
        except (httpcore.UnsupportedProtocol, ValueError):
            raise _not_allowed() from None

    def _keep(self, incoming: Incoming) -> Fetched:
        kind = content_type(incoming.head, "")
        return Fetched(self._inputs.keep(incoming), incoming.sha256, kind)


def _write(incoming: Incoming, data: bytes, errand: _Errand) -> None:
    errand.go_on()
    try:
        incoming.write(data)
    except UploadTooLarge:
        raise _too_large(errand.max_bytes) from None


def _header(response: httpcore.Response, name: bytes) -> str:
    values = (value for key, value in response.headers if key.lower() == name)
    return next(values, b"").decode("latin-1")


def _not_allowed() -> BadMedia:
    return BadMedia(NOT_ALLOWED, type="file_download_error")


def _failed(why: str) -> BadMedia:
    return BadMedia(f"The file could not be downloaded: {why}", type="file_download_error")


def _too_large(max_bytes: int) -> BadMedia:
    msg = f"The file is larger than the {max_bytes} bytes that are taken"
    return BadMedia(msg, type="file_too_large", ctx={"max_size": max_bytes})
