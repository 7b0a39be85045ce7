"""Clips as latents on the disk, so that an expert's training does not encode them over and over.

    python -m weights.train.corpus VAE OUT
    python -m weights.train.corpus VAE OUT --task i2v
    python -m weights.train.corpus VAE OUT --style dusk

Shards are written by the number of clips that each kind still lacks, so an interrupted run goes on,
and a reader may begin before it has ended. Image to video has a corpus of its own, which holds what
the VAE makes of the known frames as well.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from wan_local import catalog
from weights.train.clips import Scene, random_scene
from weights.train.conditioning import LAST, Batch, condition, known_pixels
from weights.train.shards import Clips, Shards, save_shard
from weights.train.styles import STYLES, Style
from weights.train.whole_clips import encode

PER_SHARD = 50
MOMENTS = 9
"""A picture is one of so many moments of a motion, not always its first."""
STYLED = 5
"""A style is learned from this many times fewer clips than everything else was."""


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

    @property
    def per_shard(self) -> int:
        """A batch is drawn from one shard, and pictures make large batches."""
        return min(self.clips, PER_SHARD * 8 if self.frames == 1 else PER_SHARD)


KINDS: dict[catalog.Kind, tuple[Kind, ...]] = {
    "t2v": (
        Kind(1, 64, 112, 12000, 0.04),
        Kind(1, 96, 176, 4000, 0.12),
        Kind(17, 64, 112, 1500, 0.06),
        Kind(17, 80, 144, 1200, 0.20),
        Kind(17, 96, 176, 2000, 0.26),
        Kind(33, 80, 144, 400, 0.06),
        Kind(81, 80, 144, 300, 0.08),
        Kind(81, 96, 176, 250, 0.08),
        Kind(161, 80, 144, 50, 0.02),
        Kind(17, 144, 80, 400, 0.04),
        Kind(17, 80, 80, 400, 0.04),
    ),
    "i2v": (
        Kind(17, 80, 144, 1500, 0.36),
        Kind(17, 96, 176, 1000, 0.28),
        Kind(33, 80, 144, 400, 0.10),
        Kind(81, 80, 144, 250, 0.08),
        Kind(81, 96, 176, 100, 0.06),
        Kind(17, 144, 80, 400, 0.06),
        Kind(17, 80, 80, 400, 0.06),
    ),
    "ti2v": (
        Kind(1, 160, 288, 6000, 0.08),
        Kind(1, 192, 352, 4000, 0.10),
        Kind(17, 160, 288, 1200, 0.24),
        Kind(17, 192, 352, 1600, 0.30),
        Kind(33, 160, 288, 300, 0.06),
        Kind(81, 160, 288, 200, 0.08),
        Kind(81, 192, 352, 100, 0.04),
        Kind(17, 288, 160, 400, 0.05),
        Kind(17, 160, 160, 400, 0.05),
    ),
}
"""By task. The 5B model's tokens are 32 pixels a side: its clips are twice as large."""


def held_out(scene: Scene) -> bool:
    """Return whether the scene's colour, shape and motion are never trained together."""
    key = f"{scene.colour} {scene.shape} {scene.motion}"
    return sum(ord(letter) * (place + 1) for place, letter in enumerate(key)) % 5 == 0


def training_scene(generator: torch.Generator) -> Scene:
    """Draw a scene that is not held out."""
    scene = random_scene(generator)
    while held_out(scene):
        scene = random_scene(generator)
    return scene


@torch.inference_mode()
def write(
    vae_folder: Path,
    out: Path,
    task: catalog.Kind = "t2v",
    style: str = "plain",
    share: float = 1,
) -> None:
    """Draw and encode what is missing in *out*, all kinds alongside one another.

    Args:
        vae_folder: Of the VAE.
        out: Where the shards go.
        task: Whose kinds of clips.
        style: A row of STYLES.
        share: Of the clips of each kind; of a style, a fifth as many are made.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.set_flush_denormal(True)
    vae = AutoencoderKLWan.from_pretrained(vae_folder, torch_dtype=torch.float32)
    share = share if style == "plain" else share / STYLED
    kinds = [replace(kind, clips=math.ceil(kind.clips * share)) for kind in KINDS[task]]
    shard = _write_pictured if task == "i2v" else _write_shard
    for number in range(max(-(-kind.clips // kind.per_shard) for kind in kinds)):
        for index, kind in enumerate(kinds):
            path = out / f"{kind.name}.{number:03}.safetensors"
            if number * kind.per_shard < kind.clips and not path.exists():
                generator = torch.Generator().manual_seed(1000 * number + index)
                shard(vae, path, _clips(kind, STYLES[style], generator))


def _write_shard(vae: Any, path: Path, clips: Iterator[tuple[Scene, Tensor]]) -> None:
    latents, scenes = [], []
    for scene, clip in clips:
        latents.append(latents_of(vae, clip))
        scenes.append(asdict(scene))
    save_shard(path, {"latents": torch.stack(latents)}, scenes=scenes)


def _write_pictured(vae: Any, path: Path, clips: Iterator[tuple[Scene, Tensor]]) -> None:
    tensors: dict[str, list[Tensor]] = {"latents": [], "pictures": [], "last": []}
    scenes = []
    for number, (scene, clip) in enumerate(clips):
        # Spread evenly, so that no shard is without; scenes come in no order.
        last = int((number + 1) * LAST) > int(number * LAST)
        tensors["latents"].append(latents_of(vae, clip))
        tensors["pictures"].append(latents_of(vae, known_pixels(clip, last=last)))
        tensors["last"].append(torch.tensor(last))
        scenes.append(asdict(scene))
    save_shard(path, {name: torch.stack(rows) for name, rows in tensors.items()}, scenes=scenes)


def latents_of(vae: Any, clip: Tensor) -> Tensor:
    """Return the latents of *clip* as experts see them, [z, frames, height, width]."""
    mean = torch.tensor(vae.config.latents_mean).view(1, -1, 1, 1, 1)
    scale = torch.tensor(vae.config.latents_std).view(1, -1, 1, 1, 1)
    with torch.autocast("cpu", torch.bfloat16):
        found = encode(vae, clip[None])[0].float()
    return ((found - mean) / scale)[0]


def _clips(kind: Kind, style: Style, generator: torch.Generator) -> Iterator[tuple[Scene, Tensor]]:
    size = {"height": kind.height, "width": kind.width, "frames": kind.frames}
    for _ in range(kind.per_shard):
        scene = training_scene(generator)
        if kind.frames == 1:
            moment = int(torch.randint(MOMENTS, (1,), generator=generator))
            size |= {"frames": MOMENTS, "part": slice(moment, moment + 1)}
        yield scene, style.draw(scene, **size, generator=generator)


class Corpus:
    """The latents of a folder, for one task; look again with `refresh`.

    Args:
        folder: Where the shards are.
        task: Whose they are.
        stills: Whether only pictures are drawn.
    """

    def __init__(self, folder: Path, task: catalog.Kind = "t2v", *, stills: bool = False) -> None:
        self.task = task
        kinds = [kind for kind in KINDS[task] if kind.frames == 1 or not stills]
        self._shares = {kind.name: kind.share for kind in kinds}
        self._shards = Shards(folder, "scenes")

    def refresh(self) -> None:
        """Read shards that are new."""
        self._shards.refresh()

    def draw(self, tokens: int, generator: torch.Generator) -> tuple[Batch, list[Scene]]:
        """Return clips of one kind, with some *tokens* together, and their scenes."""
        clips, rows = self._shards.draw(self._shares, tokens, generator)
        return Batch(clips["latents"], _condition(clips)), [Scene(**row) for row in rows]


def _condition(clips: Clips) -> Tensor | None:
    return condition(clips["pictures"], clips["last"]) if "pictures" in clips else None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vae", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--task", choices=KINDS, default="t2v")
    parser.add_argument("--style", choices=STYLES, default="plain")
    parser.add_argument("--share", type=float, default=1, help="of the clips, for a rehearsal")
    flags = parser.parse_args()
    write(flags.vae, flags.out, flags.task, flags.style, flags.share)
