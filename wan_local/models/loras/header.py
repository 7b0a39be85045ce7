"""The header of a safetensors file, checked before anything else is read of it.

The library checks most of this too; what it lets through (a million empty tensors, duplicate keys,
path traversal in names) is refused here, and each refusal is a sentence. No torch.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from wan_local.errors import LoraRefused

MAX_HEADER_BYTES = 8 * 2**20
MAX_TENSORS = 20_000
MAX_BYTES = 4 * 2**30
"""A LoRA of rank 64 for one 14B expert has 0.6 GB; full-rank differences of one have 28."""
MAX_DIMENSIONS = 8
NAME = re.compile(r"[A-Za-z0-9_.\-]{1,256}")

DTYPE_BYTES = {"F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}

# First bytes of what people rename, upload or download by mistake.
_LOOKS_LIKE = (
    (
        b"PK\x03\x04",
        "a zip archive, as PyTorch's .pt, .bin and .ckpt files are",
    ),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x03", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
    (b"GGUF", "a GGUF file"),
    (b"version https://git-lfs", "a Git LFS pointer and not the file it points to"),
    (b"<", "a web page"),
    (b"{", "JSON"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"RIFF", "a WebP picture or a RIFF file"),
    (b"\x89HDF", "an HDF5 file"),
)


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor, as the header describes it."""

    dtype: str
    """A key of `DTYPE_BYTES`."""
    shape: tuple[int, ...]
    begin: int
    """Offset of its first byte in the file."""
    end: int
    """Offset after its last byte."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a safetensors file says it holds."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor."""
        return {name: info.shape for name, info in self.tensors.items()}


def open_header(path: Path, max_bytes: float = MAX_BYTES) -> Header:
    """Read the header of the file at *path*, which may have *max_bytes*.

    Raises:
        LoraRefused: If it is not a safetensors file within the limits.
    """
    try:
        with path.open("rb") as file:
            return read_header(file, path.stat().st_size, max_bytes)
    except OSError as error:
        msg = f"the file cannot be read: {error.strerror}"
        raise LoraRefused(msg) from error


def read_header(file: BinaryIO, size: int, max_bytes: float = MAX_BYTES) -> Header:
    """Read the header at the start of *file*, which has *size* bytes and may have *max_bytes*.

    Raises:
        LoraRefused: If it is not a safetensors file within the limits.
    """
    if size == 0:
        msg = "the file is empty"
        raise LoraRefused(msg)
    if size > max_bytes:
        msg = f"the file has {size / 1e9:.1f} GB; a LoRA may have {max_bytes / 1e9:.1f}"
        raise LoraRefused(msg)
    start = file.read(64)
    length = struct.unpack("<Q", start[:8])[0] if len(start) >= 8 else 0
    if start[8:9] != b"{" or length > size - 8:
        raise LoraRefused(_what_it_is(start))
    if length > MAX_HEADER_BYTES:
        msg = f"its header has {length / 1e6:.1f} MB; {MAX_HEADER_BYTES / 1e6:.1f} are allowed"
        raise LoraRefused(msg)
    raw = start[8 : 8 + length]
    raw += file.read(length - len(raw))
    entries = _parse(raw)
    metadata = _metadata(entries.pop("__metadata__", {}))
    if not entries:
        msg = "it holds no tensors"
        raise LoraRefused(msg)
    if len(entries) > MAX_TENSORS:
        msg = f"it lists {len(entries)} tensors; {MAX_TENSORS} are allowed"
        raise LoraRefused(msg)
    tensors = {name: _tensor(name, entry, 8 + length) for name, entry in entries.items()}
    _require_gapless(tensors, 8 + length, size)
    return Header(tensors, metadata)


def _what_it_is(start: bytes) -> str:
    for magic, name in _LOOKS_LIKE:
        if start.lstrip().startswith(magic) or start.startswith(magic):
            return f"it is {name}; only safetensors files are taken"
    if start[4:8] == b"ftyp":
        return "it is an MP4 or another video; only safetensors files are taken"
    return "it is not a safetensors file: it has no such header"


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        msg = f"its header is not valid JSON: {type(error).__name__}"
        raise LoraRefused(msg) from error
    if not isinstance(value, dict):
        msg = "its header is not a JSON object"
        raise LoraRefused(msg)
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        msg = "its header names a tensor twice"
        raise LoraRefused(msg)
    return value


def _metadata(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        msg = "its metadata is not a table of texts"
        raise LoraRefused(msg)
    return value


def _tensor(name: str, entry: Any, data: int) -> TensorInfo:
    if not NAME.fullmatch(name):
        msg = f"it has a tensor with an impossible name: {name[:80]!r}"
        raise LoraRefused(msg)
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        msg = f"tensor {name} is not described by dtype, shape and data_offsets"
        raise LoraRefused(msg)
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        msg = f"tensor {name} has dtype {str(dtype)[:20]}; LoRAs have {', '.join(DTYPE_BYTES)}"
        raise LoraRefused(msg)
    if not _counts(shape, MAX_DIMENSIONS) or 0 in shape:
        msg = f"tensor {name} has an impossible shape"
        raise LoraRefused(msg)
    if not _counts(offsets, 2) or len(offsets) != 2:
        msg = f"tensor {name} has impossible offsets"
        raise LoraRefused(msg)
    begin, end = offsets
    if end - begin != math.prod(shape) * DTYPE_BYTES[dtype]:
        msg = f"tensor {name} has {end - begin} bytes, which is not what {dtype} {shape} takes"
        raise LoraRefused(msg)
    return TensorInfo(dtype, tuple(shape), data + begin, data + end)


def _counts(value: Any, most: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= most
        and all(type(number) is int and 0 <= number < 2**40 for number in value)
    )


def _require_gapless(tensors: Mapping[str, TensorInfo], data: int, size: int) -> None:
    """Refuse overlaps, holes and bytes after the end, where a second file could hide."""
    position = data
    for name, info in sorted(tensors.items(), key=lambda item: item[1].begin):
        if info.begin != position:
            msg = f"tensor {name} does not begin where the one before it ends"
            raise LoraRefused(msg)
        position = info.end
    if position != size:
        msg = f"its tensors end at byte {position} and the file at byte {size}"
        raise LoraRefused(msg)
