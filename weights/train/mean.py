"""Average finished networks that went on from one another, or from the same one.

    python -m weights.train.mean OUT FOLDER FOLDER ...

Wortsman et al., "Model soups", 2022. A folder holds a network of ours, or a transformer.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

FILES = ("model.safetensors", "diffusion_pytorch_model.safetensors")
"""What a network's weights are called."""


def mean(folders: Sequence[Path], out: Path) -> None:
    """Write the mean of the networks in *folders* to the folder *out*, in half precision.

    What the file says of itself, and a configuration beside it, are those of the last folder.

    Raises:
        ValueError: If they are not of one network.
        FileNotFoundError: If there is none in a folder.
    """
    files = [_weights(folder) for folder in folders]
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
    with safe_open(files[-1], "pt") as last:
        save_file(averaged, out / files[-1].name, last.metadata())
    for config in folders[-1].glob("config.json"):
        shutil.copyfile(config, out / config.name)


def _weights(folder: Path) -> Path:
    for name in FILES:
        if (folder / name).exists():
            return folder / name
    msg = f"there is no {' and no '.join(FILES)} in {folder}"
    raise FileNotFoundError(msg)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    flags = parser.parse_args()
    mean(flags.folders, flags.out)
