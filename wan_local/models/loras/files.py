"""Where the LoRAs of a plan, and the weights they change, are on this machine. No torch."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from math import inf
from pathlib import Path

from wan_local.catalog import LORAS, LoraSpec
from wan_local.errors import BadCheckpoint, LoraRefused, WeightsMissing
from wan_local.models.loras.header import open_header
from wan_local.models.loras.shapes import Shape
from wan_local.plan import LoraRef, Target


def lora_files(weights_dir: Path, ref: LoraRef) -> list[tuple[Target, Path]]:
    """Return the files of *ref*, each with the experts it changes; none if it may be left out.

    Raises:
        WeightsMissing: If it is one of the catalog, is not here and may not be left out; the
            message holds the command that fetches it.
        LoraRefused: If the catalog has no such LoRA.
    """
    if ref.file is not None:
        return [(ref.target, Path(ref.file.path))]
    if ref.name not in LORAS:
        msg = f"unknown LoRA {ref.name!r}; known: {', '.join(LORAS)}"
        raise LoraRefused(msg)
    spec = LORAS[ref.name]
    files: list[tuple[Target, Path]] = [
        ("high", _folder(weights_dir, spec) / spec.high),
        ("low", _folder(weights_dir, spec) / spec.low),
    ]
    missing = [path for _, path in files if not path.is_file()]
    if missing and ref.required:
        msg = (
            f"{spec.title} is not on this machine: there is no {missing[0]}. "
            f"Fetch it ({spec.download_gb:.1f} GB) with: {fetch_lora_command(weights_dir, spec)}"
        )
        raise WeightsMissing(msg)
    return [] if missing else files


def require_loras(weights_dir: Path, refs: Iterable[LoraRef]) -> None:
    """Find out whether the catalog's LoRAs among *refs* are here.

    Raises:
        WeightsMissing: If one is not, and may not be left out.
    """
    for ref in refs:
        if ref.file is None:
            lora_files(weights_dir, ref)


def fetch_lora_command(weights_dir: Path, spec: LoraSpec) -> str:
    """Return the shell command that puts the LoRA of *spec* into *weights_dir*."""
    folder = shlex.quote(str(_folder(weights_dir, spec)))
    return f"hf download {spec.repo} {spec.high} {spec.low} --local-dir {folder}"


def expert_shapes(checkpoint: Path) -> dict[str, Shape]:
    """Return name and shape of each weight of an expert of the *checkpoint* in this folder.

    Its two experts have the same.

    Raises:
        BadCheckpoint: If its files are not safetensors.
    """
    shapes: dict[str, Shape] = {}
    for file in sorted((checkpoint / "transformer").glob("diffusion_pytorch_model*.safetensors")):
        try:
            shapes |= open_header(file, max_bytes=inf).shapes
        except LoraRefused as error:
            msg = f"{file}: {error}"
            raise BadCheckpoint(msg) from error
    return shapes


def _folder(weights_dir: Path, spec: LoraSpec) -> Path:
    return weights_dir.absolute() / "loras" / spec.id
