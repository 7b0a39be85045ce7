"""A file of weights, in any of the published forms -> a network ready to interpolate.

To add a form, write its reader and add a row to READERS.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from wan_local.errors import BadCheckpoint
from wan_local.interpolation.archive import read_archive
from wan_local.interpolation.film import Film, film_layout
from wan_local.interpolation.ncnn import read_ncnn
from wan_local.interpolation.pairs import Interpolator
from wan_local.interpolation.rife import Rife, rife_layout
from wan_local.models.interpolators import find_interpolator


def open_interpolator(name: str, weights_dir: Path, device: torch.device) -> Interpolator:
    """Return interpolator *name* with its weights on *device*, outside any residency.

    Raises:
        WeightsMissing: If they are not on this machine.
        BadCheckpoint: If they are not what the name says.
    """
    network = load_network(name, find_interpolator(weights_dir, name), network_dtype(device))
    return Interpolator(network.to(device))


def network_dtype(device: torch.device) -> torch.dtype:
    """Return what interpolators compute in on *device*; they warp in float32 everywhere."""
    return torch.float16 if device.type == "cuda" else torch.float32


def load_network(name: str, path: Path, dtype: torch.dtype) -> Rife | Film:
    """Read the weights in *path* into host memory, by their shapes.

    Raises:
        BadCheckpoint: If they are not those of interpolator *name*, every one of them.
    """
    family = NETWORKS[name]
    try:
        weights = family.published_names(read_weights(path))
        with torch.device("meta"):
            network = family.build(weights)
        _check(network, weights)
    except BadCheckpoint as error:
        msg = f"{path}: {error}"
        raise BadCheckpoint(msg) from error
    network.load_state_dict({name: x.to(dtype) for name, x in weights.items()}, assign=True)
    return network.eval().requires_grad_(requires_grad=False)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors in *path* by the names they have there.

    Raises:
        BadCheckpoint: If it cannot be read, or is a pickle.
    """
    reader = READERS.get(path.suffix)
    if reader is None:
        msg = f"{path} is none of {', '.join(READERS)}"
        raise BadCheckpoint(msg)
    return reader(path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        msg = f"{path} cannot be read: {error}"
        raise BadCheckpoint(msg) from error


READERS: dict[str, Callable[[Path], dict[str, Tensor]]] = {
    ".safetensors": _read_safetensors,
    ".param": read_ncnn,
    ".pt": read_archive,
}


def rife_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return RIFE's tensors by their published names, without what only its training used.

    `flownet.pkl` has `module.` before every name, and a teacher; repacked files may count blocks
    with a dot.
    """
    found = {}
    for name, tensor in weights.items():
        short = re.sub(r"^((module|flownet)\.)+", "", name)
        short = re.sub(r"^blocks\.(\d)\.", r"block\1.", short)
        if not short.startswith(("teacher.", "caltime.")):
            found[short] = tensor
    return found


def film_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return FILM's tensors by the names of its TorchScript archive.

    The repacked safetensors file says `.conv.weight` where the archive says `.0.weight`.
    """
    return {re.sub(r"\.conv\.(weight|bias)$", r".0.\1", key): x for key, x in weights.items()}


@dataclass(frozen=True, slots=True)
class Family:
    """How the weights of one kind of network are recognised."""

    published_names: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
    build: Callable[[Mapping[str, Tensor]], Rife | Film]


NETWORKS = {
    "rife": Family(rife_names, lambda weights: Rife(rife_layout(weights))),
    "film": Family(film_names, lambda weights: Film(film_layout(weights))),
}


def _check(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    wanted = {name: tuple(weight.shape) for name, weight in network.state_dict().items()}
    given = {name: tuple(weight.shape) for name, weight in weights.items()}
    wrong = [
        f"{name} is {given.get(name, 'missing')} and should be {wanted.get(name, 'absent')}"
        for name in sorted(wanted.keys() | given.keys())
        if wanted.get(name) != given.get(name)
    ]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        msg = f"not the weights of this network: {wrong[0]}{more}"
        raise BadCheckpoint(msg)
