"""LoRAs with names: a folder of safetensors files, each with a sheet of JSON beside it.

A file that was put there by hand is found under its name as well; what is added by
`wan-local lora add` was checked, and has a sheet that says where it came from.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal

from wan_local.errors import LoraRefused
from wan_local.models.loras.adapter_config import FILE_NAME, METADATA_KEY, adapter_config
from wan_local.models.loras.fitting import sha256_of
from wan_local.models.loras.header import open_header

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,63}(?:@(?:high|low))?")

Half = Literal["high", "low"]


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is known of a LoRA with a name."""

    name: str
    """`my-style`, or `my-style@high` for half of a pair."""
    sha256: str
    size_bytes: int
    source: str | None = None
    """Where it came from: a path or a URL."""
    added_at: str | None = None
    """None if it was put into the folder by hand."""


class LoraLibrary:
    """The LoRAs in *folder*, by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def list(self) -> list[Sheet]:
        """Return all of them, by name."""
        found = sorted(self._folder.glob("*.safetensors")) if self._folder.is_dir() else []
        return [self._sheet(path) for path in found if NAME.fullmatch(path.stem)]

    def path(self, name: str) -> Path | None:
        """Return the file of *name*, or None if there is none.

        Raises:
            LoraRefused: If the name is a pair's, whose halves have to be asked for one by one.
        """
        if not NAME.fullmatch(name):
            return None
        path = self._file(name)
        if path.is_file():
            return path
        halves = [half for half in ("high", "low") if self._file(f"{name}@{half}").is_file()]
        if halves and "@" not in name:
            names = " and ".join(f"{name}@{half}" for half in halves)
            msg = f"{name} is half of a pair: ask for {names}, each with its `transformer`"
            raise LoraRefused(msg)
        return None

    def add(self, name: str, file: Path, source: str | None = None) -> Sheet:
        """Copy *file* into the folder as *name*, in the place of what had this name.

        Raises:
            LoraRefused: If it is no safetensors file, or *name* cannot be a name.
        """
        if not NAME.fullmatch(name):
            msg = f"{name!r} cannot be a name: letters, digits, '.', '_' and '-', 64 at most"
            raise LoraRefused(msg)
        open_header(file)
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._folder / f".{secrets.token_hex(8)}.part"
        try:
            with file.open("rb") as whole, part.open("xb") as copy:
                _copy_with_strength(file, whole, copy)
                copy.flush()
                os.fsync(copy.fileno())
            sheet = Sheet(
                name,
                sha256_of(part),
                part.stat().st_size,
                source or str(file.absolute()),
                datetime.now(UTC).isoformat(timespec="seconds"),
            )
            self._sheet_path(name).write_text(json.dumps(asdict(sheet), indent=2) + "\n")
            part.replace(self._file(name))
        finally:
            part.unlink(missing_ok=True)
        return sheet

    def remove(self, name: str) -> bool:
        """Remove *name* and return whether it was there."""
        if not NAME.fullmatch(name) or not self._file(name).is_file():
            return False
        self._file(name).unlink()
        self._sheet_path(name).unlink(missing_ok=True)
        return True

    def _sheet(self, path: Path) -> Sheet:
        try:
            values: dict[str, Any] = json.loads(self._sheet_path(path.stem).read_text())
            return Sheet(**values)
        except (OSError, ValueError, TypeError):
            # Put there by hand, or its sheet was edited into something else.
            return Sheet(path.stem, sha256_of(path), path.stat().st_size)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"

    def _sheet_path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def _copy_with_strength(path: Path, whole: BinaryIO, copy: BinaryIO) -> None:
    """Copy a file; one whose strength stands in a file beside it gets it into its own header."""
    header = open_header(path)
    beside = path.with_name(FILE_NAME)
    if METADATA_KEY in header.metadata or adapter_config({}, path) is None:
        shutil.copyfileobj(whole, copy, 2**20)
        return
    length = int.from_bytes(whole.read(8), "little")
    entries = json.loads(whole.read(length))
    strength = json.dumps(json.loads(beside.read_text(encoding="utf-8")))
    entries["__metadata__"] = {**header.metadata, METADATA_KEY: strength}
    raw = json.dumps(entries, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)  # as safetensors does, so that tensors stay aligned
    copy.write(len(raw).to_bytes(8, "little") + raw)
    shutil.copyfileobj(whole, copy, 2**20)
