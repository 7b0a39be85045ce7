"""What can compute here. Asked when needed, never at import.

    python -m wan_local.models.devices

prints the CUDA devices as a JSON list, for a parent process that must not load torch itself.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass

import torch

from wan_local.errors import WanLocalError


@dataclass(frozen=True, slots=True)
class Gpu:
    """One CUDA device."""

    device: str
    """As torch names it: `cuda:0`."""
    name: str
    memory_gb: float
    """Total, in GB of 10^9 bytes."""


def devices() -> list[Gpu]:
    """Return the CUDA devices of this machine, none of them touched."""
    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        gigabytes = round(properties.total_memory / 1e9, 1)
        found.append(Gpu(f"cuda:{index}", properties.name, gigabytes))
    return found


def device_name(device: str) -> str:
    """Return *device* in words: `cpu`, or the GPU's name.

    Raises:
        WanLocalError: If this machine has no such device.
    """
    if device == "cpu":
        return "cpu"
    names = {gpu.device: gpu.name for gpu in devices()}
    if device not in names:
        found = ", ".join(["cpu", *names])
        msg = f"there is no device {device!r} here; found: {found}"
        raise WanLocalError(msg)
    return names[device]


def compute_dtype(device: torch.device) -> torch.dtype:
    """Return what the text encoder and the experts compute in on *device*.

    bfloat16 on a GPU, as Wan's own code; float32 on a CPU, where bfloat16 is slower and the
    reference that tests compare with is float32.
    """
    return torch.bfloat16 if device.type == "cuda" else torch.float32


if __name__ == "__main__":
    json.dump([asdict(gpu) for gpu in devices()], sys.stdout)
    sys.stdout.write("\n")
