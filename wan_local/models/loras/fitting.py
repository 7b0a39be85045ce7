"""Whether a LoRA's file fits a checkpoint, told from headers alone: before a GPU is asked for.

What only the numbers can tell, whether all are finite, is found out when it is applied. No torch.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from wan_local.errors import LoraRefused
from wan_local.models.loras.adapter_config import adapter_config
from wan_local.models.loras.coverage import Coverage, coverage
from wan_local.models.loras.files import expert_shapes
from wan_local.models.loras.header import open_header
from wan_local.models.loras.layers import Reading, read_layers


def fit(path: Path, checkpoint: Path) -> Coverage:
    """Return what of the LoRA at *path* changes an expert of the *checkpoint* in this folder.

    Raises:
        LoraRefused: If it is no LoRA for it, or nothing of it is left.
        BadCheckpoint: If the checkpoint's own files cannot be read.
    """
    return coverage(require_fit(path, checkpoint), sha256_of(path))


def require_fit(path: Path, checkpoint: Path) -> Reading:
    """Return what the LoRA at *path* does to an expert of the *checkpoint* in this folder.

    Raises:
        LoraRefused: If it is no LoRA for it, or nothing of it is left.
        BadCheckpoint: If the checkpoint's own files cannot be read.
    """
    header = open_header(path)
    config = adapter_config(header.metadata, path)
    reading = read_layers(header.shapes, expert_shapes(checkpoint), config)
    if not reading.layers:
        msg = "none of its keys changes this model"
        raise LoraRefused(msg)
    return reading


def sha256_of(path: Path) -> str:
    """Return the hash of the file at *path*, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
