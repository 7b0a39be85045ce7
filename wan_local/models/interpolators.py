"""Which file an interpolator's weights are in; no torch, so that the web process can ask too."""

from __future__ import annotations

import shlex
from pathlib import Path

from wan_local.catalog import INTERPOLATORS
from wan_local.errors import BadCheckpoint, InvalidPlan, WeightsMissing

READ = (".safetensors", ".param", ".pt")
"""What is read as it is: safetensors, ncnn's graph with its .bin beside it, TorchScript."""
CONVERTED = (".pkl", ".pth")
"""Pickles, which only the converter touches, and only when told to."""


def find_interpolator(weights_dir: Path, name: str) -> Path:
    """Return the file that holds the weights of interpolator *name*.

    Raises:
        InvalidPlan: If the catalog has no such row.
        WeightsMissing: If there is none; the message holds the command to fetch or convert one.
        BadCheckpoint: If there is more than one.
    """
    if name not in INTERPOLATORS:
        msg = f"unknown interpolator {name!r}; known: {', '.join(INTERPOLATORS)}"
        raise InvalidPlan(msg)
    folder = interpolator_folder(weights_dir, name)
    found = _files(folder, READ)
    if len(found) > 1:
        msg = f"{folder} must hold one file of weights, not {len(found)}: {found[0]}, {found[1]}"
        raise BadCheckpoint(msg)
    if found:
        return found[0]
    pickles = _files(folder, CONVERTED)
    msg = f"{INTERPOLATORS[name].title} is not on this machine: {folder} has no weights. "
    if pickles:
        command = f"python -m wan_local.interpolation.convert {shlex.quote(str(pickles[0]))}"
        msg += f"Pickles are never opened by the server; convert it with: {command}"
    else:
        msg += f"Fetch them with: {fetch_interpolator(weights_dir, name)}"
    raise WeightsMissing(msg)


def fetch_interpolator(weights_dir: Path, name: str) -> str:
    """Return the shell command that puts interpolator *name* into *weights_dir*."""
    spec = INTERPOLATORS[name]
    folder = shlex.quote(str(interpolator_folder(weights_dir, name)))
    return f"hf download {spec.repo} {spec.file} --local-dir {folder}"


def interpolator_folder(weights_dir: Path, name: str) -> Path:
    """Return where the files of interpolator *name* belong."""
    return weights_dir.absolute() / "interpolation" / name


def _files(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """Return the files below *folder* with one of *endings*, none in a hidden folder."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in endings
        and path.is_file()
        # `hf download` keeps its notes in `.cache` beside the files.
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
