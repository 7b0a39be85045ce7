"""What the path of a LoRA may be, and where the file is that it means.

A registered name (`my-style`, `my-style@high`); a path inside a folder the operator named; the URL
of an upload; a Hugging Face repository, with or without a file, or a page of one; a Civitai page or
download; any other URL that the operator's policy lets through. This machine is looked at first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

from server.media.hugging_face import HubFile
from server.media.lora_library import LoraLibrary
from server.media.sources import Source
from wan_local.errors import LoraRefused
from wan_local.models.loras.fitting import sha256_of
from wan_local.models.loras.header import MAX_BYTES, open_header

MAX_LISTING_BYTES = 4 * 2**20

_CIVITAI = {"civitai.com", "www.civitai.com"}
_AIR = re.compile(r"urn:air:[\w.\-]+:lora:civitai:(?P<model>\d+)@(?P<version>\d+)")


class Fetched(Protocol):
    """A file that was fetched."""

    @property
    def path(self) -> Path:
        """Where it is."""
        ...

    @property
    def sha256(self) -> str:
        """Of its bytes, in hexadecimal."""
        ...


Fetch = Callable[[str, int], Fetched]
"""URL and most bytes -> the file, through the operator's policy."""


def lora_address(path: str, weight_name: str | None) -> str:
    """Return a request's *path* and *weight_name* as one: what names the file among its sources."""
    bare = path.strip()
    if not weight_name or bare.endswith(".safetensors") or HubFile.parse(bare) is None:
        return bare
    return f"{bare.rstrip('/')}/{weight_name.strip().lstrip('/')}"


class LoraFinder:
    """Finds the files of LoRAs.

    Args:
        library: Those with names.
        roots: Folders that a path may lie in.
        hub_cache: Hugging Face's cache on this machine.
        fetch: Brings what is elsewhere, or refuses to.
    """

    def __init__(
        self, library: LoraLibrary, roots: tuple[Path, ...], hub_cache: Path, fetch: Fetch
    ) -> None:
        self._library = library
        self._roots = tuple(root.resolve() for root in roots)
        self._hub_cache = hub_cache
        self._fetch = fetch

    def find(self, address: str) -> Source:
        """Return the safetensors file that *address* means.

        Raises:
            LoraRefused: If it means none, or not one, or it is not a safetensors file.
        """
        path = self._local(address)
        if path is not None:
            open_header(path)
            return Source(str(path), sha256_of(path))
        fetched = self._fetch(self._url(address), MAX_BYTES)
        open_header(fetched.path)
        return Source(str(fetched.path), fetched.sha256)

    def _local(self, address: str) -> Path | None:
        if address.startswith(("/", "file://")) and not address.startswith("/cdn/files/"):
            return self._inside_roots(Path(address.removeprefix("file://")))
        named = self._library.path(address)
        if named is not None:
            return named
        hub = HubFile.parse(address)
        return hub.cached(self._hub_cache) if hub else None

    def _inside_roots(self, path: Path) -> Path:
        # The same sentence whether it exists or not: the file system is not the client's to map.
        msg = f"{path} is not a file in a folder that LoRAs may be taken from (lora_roots)"
        try:
            found = path.resolve(strict=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise LoraRefused(msg) from error
        if not found.is_file() or not any(found.is_relative_to(root) for root in self._roots):
            raise LoraRefused(msg)
        return found

    def _url(self, address: str) -> str:
        hub = HubFile.parse(address)
        if hub is not None:
            return hub.named(self._read).url
        url = civitai_download(address) or address
        if not url.startswith(("https://", "http://", "data:", "/cdn/files/")):
            msg = (
                f"{address[:200]!r} is no LoRA that this server knows by name, no path, no "
                "Hugging Face repository (org/name) and no URL; `wan-local lora list` lists names"
            )
            raise LoraRefused(msg)
        return url

    def _read(self, url: str) -> bytes:
        return self._fetch(url, MAX_LISTING_BYTES).path.read_bytes()


def civitai_download(address: str) -> str | None:
    """Return the download that a Civitai page or AIR means, or None if *address* is neither.

    Raises:
        LoraRefused: If it is a page of a model, which has many versions, and names none of them.
    """
    if air := _AIR.fullmatch(address):
        return _download(air["version"])
    try:
        parts = urlsplit(address)
    except ValueError:
        return None  # https://[ and the like, which the fetcher refuses
    if parts.scheme != "https" or parts.hostname not in _CIVITAI:
        return None
    if parts.path.startswith("/api/download/models/"):
        return parts._replace(netloc="civitai.com").geturl()
    version = parse_qs(parts.query).get("modelVersionId", [""])[0]
    if not version.isdecimal():
        msg = f"{address[:200]} names no version: open it on the page (?modelVersionId=...)"
        raise LoraRefused(msg)
    return _download(version)


def _download(version: str) -> str:
    return f"https://civitai.com/api/download/models/{version}?type=Model&format=SafeTensor"
