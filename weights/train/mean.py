"""Average finished networks that went on from the same one: what each learned last is its noise.

    python -m weights.train.mean OUT FOLDER FOLDER ...

Wortsman et al., "Model soups", 2022.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

MODEL = "model.safetensors"


def mean(folders: Sequence[Path], out: Path) -> None:
    """Write the mean of the networks in *folders* to the folder *out*, in half precision.

    Raises:
        ValueError: If they are not of one network.
    """
    files = [folder / MODEL for folder in folders]
    networks = [load_file(file) for file in files]
    shapes = [{name: tensor.shape for name, tensor in each.items()} for each in networks]
    if any(shape != shapes[0] for shape in shapes):
        msg = f"these are not of one network: {', '.join(map(str, files))}"
        raise ValueError(msg)
    averaged = {
        name: torch.stack([each[name].float() for each in networks]).mean(0).half()
        for name in networks[0]
    }
    out.mkdir(parents=True, exist_ok=True)
    save_file(averaged, out / MODEL, {"steps": str(max(map(_steps, files)))})


def _steps(file: Path) -> int:
    with safe_open(file, "pt") as opened:
        return int((opened.metadata() or {}).get("steps", 0))


if __name__ == "__main__":
    mean([Path(folder) for folder in sys.argv[2:]], Path(sys.argv[1]))
