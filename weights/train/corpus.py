"""Clips as latents on the disk, so that an expert's training does not encode them over and over.

    python -m weights.train.corpus VAE OUT

Shards are written by the number of clips that each kind still lacks, so an interrupted run goes on,
and a reader may begin before it has ended.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from weights.train.clips import Scene, random_scene, render
from weights.train.whole_clips import encode

PER_SHARD = 50


@dataclass(frozen=True, slots=True)
class Kind:
    """Clips of one shape."""

    frames: int
    height: int
    width: int
    clips: int
    """How many are made of it."""
    share: float
    """How often a batch is of this kind."""

    @property
    def name(self) -> str:
        """As in shard names."""
        return f"{self.frames}x{self.height}x{self.width}"


KINDS = (
    Kind(1, 64, 112, 4000, 0.20),
    Kind(17, 64, 112, 2500, 0.30),
    Kind(33, 64, 112, 1200, 0.14),
    Kind(81, 64, 112, 700, 0.16),
    Kind(17, 112, 64, 500, 0.08),
    Kind(17, 80, 80, 500, 0.08),
    Kind(81, 112, 64, 150, 0.04),
    Kind(81, 80, 80, 150, 0.04),
)


def held_out(scene: Scene) -> bool:
    """Return whether the scene's colour, shape and motion are never trained together."""
    key = f"{scene.colour} {scene.shape} {scene.motion}"
    return sum(ord(letter) * (place + 1) for place, letter in enumerate(key)) % 5 == 0


@torch.inference_mode()
def write(vae_folder: Path, out: Path) -> None:
    """Draw and encode what is missing in *out*, all kinds alongside one another."""
    out.mkdir(parents=True, exist_ok=True)
    torch.set_flush_denormal(True)
    vae = AutoencoderKLWan.from_pretrained(vae_folder, torch_dtype=torch.float32)
    for number in range(max(kind.clips for kind in KINDS) // PER_SHARD):
        for index, kind in enumerate(KINDS):
            path = out / f"{kind.name}.{number:03}.safetensors"
            if number * PER_SHARD < kind.clips and not path.exists():
                _write_shard(vae, path, kind, torch.Generator().manual_seed(1000 * number + index))


def _write_shard(vae: Any, path: Path, kind: Kind, generator: torch.Generator) -> None:
    mean = torch.tensor(vae.config.latents_mean).view(1, -1, 1, 1, 1)
    scale = torch.tensor(vae.config.latents_std).view(1, -1, 1, 1, 1)
    latents, scenes = [], []
    for scene, clip in _clips(kind, generator):
        with torch.autocast("cpu", torch.bfloat16):
            found = encode(vae, clip[None])[0].float()
        latents.append(((found - mean) / scale)[0].half())
        scenes.append(asdict(scene))
    part = path.with_suffix(".part")
    save_file({"latents": torch.stack(latents)}, part, {"scenes": json.dumps(scenes)})
    part.replace(path)


def _clips(kind: Kind, generator: torch.Generator) -> Iterator[tuple[Scene, Tensor]]:
    for _ in range(PER_SHARD):
        scene = random_scene(generator)
        while held_out(scene):
            scene = random_scene(generator)
        size = {"frames": kind.frames, "height": kind.height, "width": kind.width}
        yield scene, render(scene, **size, generator=generator)


class Corpus:
    """The shards that are there; look again with `refresh`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shards: dict[str, dict[str, tuple[Tensor, list[Scene]]]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read shards that are new."""
        for path in sorted(self._folder.glob("*.safetensors")):
            shards = self._shards.setdefault(path.name.split(".")[0], {})
            if path.name not in shards:
                with safe_open(path, "pt") as file:
                    scenes = [Scene(**row) for row in json.loads(file.metadata()["scenes"])]
                    shards[path.name] = (file.get_tensor("latents"), scenes)

    def draw(self, tokens: int, generator: torch.Generator) -> tuple[Tensor, list[Scene]]:
        """Return latents of one kind, [clips, z, frames, height, width], and their scenes.

        As many clips as have some *tokens* (2 × 2 latents each) together, so that a batch of short
        clips costs what a batch of long ones does.
        """
        kinds = [kind for kind in KINDS if kind.name in self._shards]
        shares = torch.tensor([kind.share for kind in kinds])
        kind = kinds[int(torch.multinomial(shares, 1, generator=generator))]
        shards = list(self._shards[kind.name].values())
        latents, scenes = shards[int(torch.randint(len(shards), (1,), generator=generator))]
        each = latents[0, 0].numel() // 4
        count = max(2, min(len(latents), round(tokens / each)))
        chosen = torch.randperm(len(latents), generator=generator)[:count]
        return latents[chosen].float(), [scenes[index] for index in chosen.tolist()]


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
