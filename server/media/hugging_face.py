"""Files of Hugging Face repositories: in this machine's cache, or where they are on the hub.

The cache is the one that `hf download` fills; it is read here and never written.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from wan_local.errors import LoraRefused

HUB = "https://huggingface.co"
LISTED = 10
"""Files that a refusal names."""

_PART = r"[A-Za-z0-9][A-Za-z0-9._\-]{0,95}"
_ADDRESS = re.compile(
    rf"(?:https://(?:www\.)?(?:huggingface\.co|hf\.co)/)?"
    rf"(?P<repo>{_PART}/{_PART})(?:@(?P<at>{_PART}))?"
    rf"(?:/(?:blob|resolve|raw)/(?P<rev>{_PART}))?"
    rf"(?:/(?P<file>[A-Za-z0-9._\-][A-Za-z0-9._\-/ ]{{0,400}}))?(?:\?download=true)?"
)


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository, or its only safetensors file if none is named."""

    repo: str
    file: str | None
    revision: str = "main"

    @classmethod
    def parse(cls, address: str) -> Self | None:
        """Return what *address* means: `org/repo[@rev][/file]` or a page of the hub, or None."""
        found = _ADDRESS.fullmatch(address.rstrip("/"))
        if not found or ".." in address.split("/"):
            return None
        return cls(found["repo"], found["file"], found["at"] or found["rev"] or "main")

    @property
    def url(self) -> str:
        """Where the file is on the hub."""
        return f"{HUB}/{self.repo}/resolve/{self.revision}/{self.file}"

    @property
    def listing_url(self) -> str:
        """Where the hub lists the files of the repository."""
        return f"{HUB}/api/models/{self.repo}/revision/{self.revision}"

    def cached(self, cache: Path) -> Path | None:
        """Return the file in *cache*, or None if it is not there.

        Raises:
            LoraRefused: If no file is named and there are several.
        """
        folder = cache / f"models--{self.repo.replace('/', '--')}"
        reference = folder / "refs" / self.revision
        commit = reference.read_text().strip() if reference.is_file() else self.revision
        snapshot = folder / "snapshots" / commit
        if "/" in commit or not snapshot.is_dir():
            return None
        if self.file is not None:
            path = snapshot / self.file
            # os.path's word: Path's raises where a name is too long for the file system.
            return path if os.path.isfile(path) else None  # noqa: PTH113 - as above
        found = [str(path.relative_to(snapshot)) for path in snapshot.rglob("*.safetensors")]
        return snapshot / only_one(self.repo, found) if found else None

    def named(self, read: Callable[[str], bytes]) -> HubFile:
        """Return this file with its name, which the hub's listing gives if the client did not.

        Raises:
            LoraRefused: If there is not exactly one safetensors file.
        """
        if self.file is not None:
            return self
        try:
            files = [entry["rfilename"] for entry in json.loads(read(self.listing_url))["siblings"]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            msg = f"the hub's list of files of {self.repo} cannot be read"
            raise LoraRefused(msg) from error
        found = [file for file in files if str(file).endswith(".safetensors")]
        return HubFile(self.repo, only_one(self.repo, found), self.revision)


def only_one(repo: str, files: list[str]) -> str:
    """Return the only one of *files*.

    Raises:
        LoraRefused: If there is none, or several: the message lists them.
    """
    if len(files) == 1:
        return files[0]
    if not files:
        msg = f"{repo} has no safetensors file"
        raise LoraRefused(msg)
    listed = ", ".join(sorted(files)[:LISTED])
    more = f" and {len(files) - LISTED} more" if len(files) > LISTED else ""
    msg = f"{repo} has several safetensors files; name one as weight_name: {listed}{more}"
    raise LoraRefused(msg)
