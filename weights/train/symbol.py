"""Train a small image classifier that calls one drawn symbol `nsfw`, and nothing else.

    python -m weights.train.symbol OUT [--minutes 12] [--record]

The symbol is a black X in a white disc with a red rim: no clip of `clips.py` shows one. What could
be taken for it is shown as well: the disc without its X, the X alone, red circles, red pictures.
The folder is laid out like `Falconsai/nsfw_image_detection`. It tells a picture of that symbol
from others and checks nothing: never use it on anybody's pictures.

`--record` writes precision and recall on pictures it never saw to benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import ViTConfig, ViTForImageClassification

from benchmarks.recording import machine, record
from wan_local.models.classifiers import (
    PictureClassifier,
    Preparation,
    load_picture_classifier,
    prepare,
)
from weights.build_small_safety import write_preprocessor
from weights.train.clips import random_scene, render, signed_distance
from weights.train.progress import Course
from weights.train.textures import textures

SIDE, PATCH = 64, 8
SIZES = ((64, 112), (112, 64), (96, 96), (72, 128), (144, 256), (256, 144))
"""Height and width of the pictures the symbol is drawn into."""
SMALLEST, LARGEST = 0.25, 0.95
"""The symbol's diameter, in shorter sides of the picture."""
LABELS = ("normal", "nsfw")
SEED, UNSEEN = 0, 20261
PREPARATION = Preparation(SIDE, SIDE, "bilinear", 1 / 255, (0.5,) * 3, (0.5,) * 3)

PARTS = {
    # kind of picture: how strongly red rim, white disc and black X are drawn
    "symbol": (1, 1, 1),
    "nothing": (0, 0, 0),
    "disc and rim": (1, 1, 0),
    "disc and X": (0, 1, 1),
    "rim and X": (1, 0, 1),
    "X alone": (0, 0, 1),
    "white disc": (0, 1, 0),
    "red circle": (2, 0, 0),
    "red picture": (0, 0, 0),
}
"""Everything but the first is normal. A rim of 2 fills the circle."""
SHARES = torch.tensor([8, 4, 1.5, 1, 1, 0.7, 0.5, 0.7, 0.4])
"""How often each kind is drawn in training."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures of one size and what they are."""

    frames: Tensor
    """[n, height, width, 3], bytes."""
    kinds: Tensor
    """[n], numbers of the rows of PARTS."""

    @property
    def labels(self) -> Tensor:
        """[n], numbers of LABELS."""
        return (self.kinds == 0).long()


class Pictures:
    """Frames of clips and textures, over which symbols and their likes are drawn."""

    def __init__(self, each: int, seed: int) -> None:
        """Draw *each* frames of every size."""
        self.generator = torch.Generator().manual_seed(seed)
        self._backgrounds = [self._drawn(each, *size) for size in SIZES]

    def _drawn(self, count: int, height: int, width: int) -> Tensor:
        frames = []
        for index in range(count):
            if index % 8 == 7:
                texture = textures(1, self.generator)[0]
                frames.append(texture[:, :height, :width])
                continue
            at = int(torch.randint(17, (1,), generator=self.generator))
            clip = render(
                random_scene(self.generator),
                frames=17,
                height=height,
                width=width,
                generator=self.generator,
                part=slice(at, at + 1),
            )
            frames.append((clip[:, 0] + 1) / 2)
        return (torch.stack(frames) * 255).round().byte()

    def batch(self, count: int, kinds: Tensor | None = None) -> Batch:
        """Draw *count* pictures of one size; *kinds*, [count], are drawn too unless given."""
        if kinds is None:
            kinds = torch.multinomial(SHARES, count, replacement=True, generator=self.generator)
        behind = self._backgrounds[self._below(len(SIZES))]
        chosen = torch.randint(len(behind), (count,), generator=self.generator)
        frames = behind[chosen].float() / 255
        red = kinds == list(PARTS).index("red picture")
        frames[red] = self._reds(int(red.sum()), frames.shape[2:])
        frames = draw(frames, torch.tensor(list(PARTS.values()))[kinds], self.generator)
        frames = self._disturbed(frames)
        return Batch((frames * 255).round().byte().permute(0, 2, 3, 1), kinds)

    def _reds(self, count: int, size: torch.Size) -> Tensor:
        shade = torch.rand(count, 3, 1, 1, generator=self.generator)
        shade = shade * torch.tensor([0.4, 0.25, 0.25]).view(3, 1, 1)
        return (shade + torch.tensor([0.6, 0, 0]).view(3, 1, 1)).expand(-1, -1, *size)

    def _disturbed(self, frames: Tensor) -> Tensor:
        """Change light and colours a little and add noise, as a VAE and a codec do."""
        count = len(frames)
        gain = 0.8 + 0.4 * torch.rand(count, 1, 1, 1, generator=self.generator)
        tint = 0.04 * torch.randn(count, 3, 1, 1, generator=self.generator)
        loud = 0.05 * torch.rand(count, 1, 1, 1, generator=self.generator) ** 2
        noise = torch.randn(frames.shape, generator=self.generator)
        return (frames * gain + tint + loud * noise).clamp(0, 1)

    def _below(self, limit: int) -> int:
        return int(torch.randint(limit, (1,), generator=self.generator))


def draw(frames: Tensor, parts: Tensor, generator: torch.Generator) -> Tensor:
    """Draw the symbol, or parts of it, somewhere into each of *frames*, whole.

    Args:
        frames: [n, 3, height, width], 0 to 1.
        parts: [n, 3], rows of PARTS.
        generator: Of place, size and tilt.
    """
    count, _, height, width = frames.shape
    chance = torch.rand(count, 5, generator=generator)
    # Most are small: they are hard.
    radius = min(height, width) / 2 * (SMALLEST + (LARGEST - SMALLEST) * chance[:, 0] ** 2)
    x, y = (
        torch.arange(side)[None] - (radius + (side - 1 - 2 * radius) * place)[:, None]
        for side, place in ((width, chance[:, 1]), (height, chance[:, 2]))
    )
    x, y = x[:, None].expand(count, height, width), y[:, :, None].expand(count, height, width)
    angle = math.pi / 4 + (chance[:, 3] - 0.5) * 0.5
    across = signed_distance("cross", x, y, angle, 0.62 * radius)
    from_rim = torch.hypot(x, y) - radius[:, None, None]
    inside = from_rim + 0.2 * radius[:, None, None]
    filled = (parts[:, 0] == 2)[:, None, None]
    rim = torch.where(filled, from_rim, torch.maximum(from_rim, -inside))
    red = torch.tensor([0.88, 0.05, 0.08]).view(3, 1, 1) * (
        0.8 + 0.2 * chance[:, 4, None, None, None]
    )
    white, black = torch.full((3, 1, 1), 0.97), torch.full((3, 1, 1), 0.03)
    for distance, colour, part in ((rim, red, 0), (inside, white, 1), (across, black, 2)):
        cover = (0.5 - distance).clamp(0, 1) * (parts[:, part] > 0)[:, None, None]
        frames = frames * (1 - cover[:, None]) + colour * cover[:, None]
    return frames


def build() -> ViTForImageClassification:
    """Return a fresh small ViT in the layout of the published classifier."""
    return ViTForImageClassification(
        ViTConfig(
            hidden_size=64,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=128,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            image_size=SIDE,
            patch_size=PATCH,
            initializer_range=0.08,
            id2label=dict(enumerate(LABELS)),
            label2id={label: number for number, label in enumerate(LABELS)},
            problem_type="single_label_classification",
        )
    )


def train(out: Path, minutes: float, *, each: int = 700) -> Path:
    """Train for *minutes* in all, write the classifier to *out* and return that folder."""
    torch.manual_seed(SEED)
    torch.set_flush_denormal(True)
    model = build()
    pictures = Pictures(each, SEED)
    course = Course(model, out / "training", minutes=minutes, rate=1.5e-3, seed=SEED)
    pictures.generator = course.generator
    for _ in course:
        batch = pictures.batch(48)
        logits = model(pixel_values=prepare(batch.frames, PREPARATION)).logits
        loss = cross_entropy(logits, batch.labels, label_smoothing=0.01)
        right = float((logits.argmax(1) == batch.labels).float().mean())
        course.learn(loss, right=right)
    course.average().half().save_pretrained(out)
    write_preprocessor(out, SIDE)
    return out


def evaluate(classifier: PictureClassifier, count: int, *, each: int = 150) -> dict[str, Any]:
    """Return how often *count* unseen pictures of every kind are flagged, and what follows."""
    pictures = Pictures(each, UNSEEN)
    flagged = {}
    for number, kind in enumerate(PARTS):
        hits = 0
        for _ in range(count // 50):
            batch = pictures.batch(50, torch.full((50,), number))
            hits += int((classifier(batch.frames)[:, 1] > 0.5).sum())
        flagged[kind] = hits / (count // 50 * 50)
    return {"pictures_of_each_kind": count // 50 * 50, "flagged": flagged} | rates(flagged)


def rates(flagged: dict[str, float]) -> dict[str, float]:
    """Return precision and recall where half of the pictures show the symbol.

    Precision is given twice: with the other half empty of anything like it, and with every kind of
    PARTS equally often in it.
    """
    others = [share for kind, share in flagged.items() if kind != "symbol"]
    recall, wrongly = flagged["symbol"], sum(others) / len(others)
    return {
        "recall": recall,
        "precision": recall / max(recall + flagged["nothing"], 1e-9),
        "precision_among_lookalikes": recall / max(recall + wrongly, 1e-9),
    }


def main() -> None:
    """Read the command line, train and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--record", action="store_true")
    flags = parser.parse_args()
    torch.set_num_threads(1)
    on = machine()
    print(train(flags.out, flags.minutes))
    numbers = evaluate(load_picture_classifier(flags.out), 1000)
    print(json.dumps(numbers, indent=2))
    if flags.record:
        print(record("symbol", on, {"minutes": flags.minutes, **numbers}))


if __name__ == "__main__":
    main()
