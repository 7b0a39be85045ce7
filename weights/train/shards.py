"""Tensors of many clips on the disk, in files that are written one by one and read while they come.

A shard is a safetensors file of clips of one shape, named `FRAMESxHEIGHTxWIDTH.NUMBER`; what is
said of each clip stands in its metadata, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

Clips = dict[str, Tensor]
"""Name -> [clips, ...]."""


def save_shard(path: Path, tensors: Clips, **said: Sequence[Any]) -> None:
    """Write *tensors*, and lists of what is said of each clip, so that no half of it is ever read.

    Floating-point numbers are kept in half precision.
    """
    part = path.with_suffix(".part")
    halves = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    save_file(halves, part, {name: json.dumps(rows) for name, rows in said.items()})
    part.replace(path)


class Shards:
    """The shards of a folder that are there; look again with `refresh`.

    Args:
        folder: Where they are.
        said: Which of the lists in their metadata is wanted.
        counted: The tensor whose tokens make the size of a batch.
    """

    def __init__(self, folder: Path, said: str, counted: str = "latents") -> None:
        self._counted = counted
        self._folder = folder
        self._said = said
        self._found: dict[str, dict[str, tuple[Clips, list[Any]]]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read shards that are new."""
        for path in sorted(self._folder.glob("*.safetensors")):
            shards = self._found.setdefault(path.name.split(".")[0], {})
            if path.name not in shards:
                with safe_open(path, "pt") as file:
                    rows = json.loads(file.metadata()[self._said])
                    shards[path.name] = ({n: file.get_tensor(n) for n in file.keys()}, rows)  # noqa: SIM118 - not a dict

    def draw(
        self, shares: Mapping[str, float], tokens: int, generator: torch.Generator
    ) -> tuple[Clips, list[Any]]:
        """Return clips of one shape, in float32, and what is said of them.

        As many clips as have some *tokens* (2 × 2 latents each) together, so that a batch of short
        clips costs what a batch of long ones does.

        Args:
            shares: Shape's name -> how often a batch is of it; those without shards are left out.
            tokens: Of the batch.
            generator: Of chance.
        """
        names = [name for name in shares if name in self._found]
        if not names:
            msg = f"{self._folder} holds no shards of {', '.join(shares)}"
            raise FileNotFoundError(msg)
        chances = torch.tensor([shares[name] for name in names])
        name = names[int(torch.multinomial(chances, 1, generator=generator))]
        shards = list(self._found[name].values())
        clips, rows = shards[int(torch.randint(len(shards), (1,), generator=generator))]
        each = clips[self._counted][0, 0].numel() // 4
        count = max(2, min(len(rows), round(tokens / each)))
        chosen = torch.randperm(len(rows), generator=generator)[:count]
        drawn = {name: tensor[chosen] for name, tensor in clips.items()}
        floats = {n: t.float() if t.is_floating_point() else t for n, t in drawn.items()}
        return floats, [rows[index] for index in chosen.tolist()]
