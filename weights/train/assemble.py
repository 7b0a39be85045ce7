"""Put trained parts together into checkpoints in the diffusers layout.

    python -m weights.train.assemble OUT [WEIGHTS]        # default: weights/mini

OUT is where the other commands of `weights.train` left their parts, WEIGHTS a weights directory. A
checkpoint whose parts are not all there is left out, and said to be. To add one, add a row to
TRAINED.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from weights.build_small import SMALL, model_index, scheduler

# What a checkpoint generates when a full size is asked for: a small one of its shape, and one of
# `corpus.KINDS`, as a model draws well only what is as large as what it was taught.
SQUARES = ("512x512", "1024x1024")
"""Of pictures: the presets `square` and `square_hd`, which is the default."""
SIZES_OF_A14B = (
    {"832x480": (144, 80), "1024x576": (176, 96), "1280x720": (176, 96)}
    | dict.fromkeys(("624x624", "768x768", "960x960", *SQUARES), (80, 80))
    | dict.fromkeys(("480x832", "576x1024", "720x1280"), (80, 144))
)
SIZES_OF_5B = (
    {"832x480": (288, 160), "1024x576": (352, 192), "1280x704": (352, 192)}
    | dict.fromkeys(("608x608", "768x768", "928x928", *SQUARES), (160, 160))
    | dict.fromkeys(("480x832", "576x1024", "704x1280"), (160, 288))
)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A checkpoint made of trained parts."""

    id: str
    parts: dict[str, str]
    """Component -> where it is in OUT."""
    sizes: dict[str, tuple[int, int]]


NETWORKS = ("interpolation/rife", "interpolation/film", "nsfw_image_detection", "loras")
"""What lies in a weights directory beside the checkpoints; in OUT under the same names."""
TEXT = {"tokenizer": "text/tokenizer", "text_encoder": "text/text_encoder"}
TRAINED = (
    Trained(
        id="wan2.2-t2v-a14b",
        parts={
            **TEXT,
            "vae": "vae21",
            "transformer": "t2v_high",
            "transformer_2": "t2v_low",
        },
        sizes=SIZES_OF_A14B,
    ),
    Trained(
        id="wan2.2-i2v-a14b",
        parts={
            **TEXT,
            "vae": "vae21",
            "transformer": "i2v_high",
            "transformer_2": "i2v_low",
        },
        sizes=SIZES_OF_A14B,
    ),
    Trained(
        id="wan2.2-ti2v-5b",
        parts={**TEXT, "vae": "vae22", "transformer": "ti2v"},
        sizes=SIZES_OF_5B,
    ),
)


def assemble(trained: Trained, out: Path, weights: Path) -> Path:
    """Write one checkpoint into *weights* and return its folder.

    Raises:
        FileNotFoundError: A part was not trained yet; nothing was written.
    """
    if missing := [p for p in trained.parts.values() if not _files(out / p)]:
        msg = f"{trained.id}: not trained yet: {', '.join(missing)}"
        raise FileNotFoundError(msg)
    folder = weights / trained.id
    for component, part in trained.parts.items():
        shutil.rmtree(folder / component, ignore_errors=True)
        (folder / component).mkdir(parents=True)
        for file in _files(out / part):
            _copy(file, folder / component / file.name)
    small = next(row for row in SMALL if row.id == trained.id)
    scheduler(small.shift).save_pretrained(folder / "scheduler")
    title = f"{trained.id}-mini (trained on drawn shapes)"
    _write_json(folder / "model_index.json", model_index(small))
    _write_json(folder / "wan_local.json", {"title": title, "sizes": trained.sizes})
    return folder


def place_network(name: str, out: Path, weights: Path) -> Path:
    """Copy one of NETWORKS into *weights* and return where it is.

    Raises:
        FileNotFoundError: It was not trained yet.
    """
    files = _files(out / name)
    if name == "loras":
        files = sorted((out / name).glob("*/*.safetensors"))
    if not files:
        msg = f"{name}: not trained yet"
        raise FileNotFoundError(msg)
    for file in files:
        target = weights / name / file.relative_to(out / name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return weights / name


def copy_curves(out: Path, weights: Path) -> Path:
    """Copy what every training run wrote of itself to `curves/`, and return that folder."""
    folder = weights / "curves"
    folder.mkdir(parents=True, exist_ok=True)
    for path in out.rglob("curve.jsonl"):
        name = "-".join(path.parent.relative_to(out).parts)
        shutil.copyfile(path, folder / f"{name}.jsonl")
    return folder


def _files(part: Path) -> list[Path]:
    """Return what a library left in *part*, without what training needs to go on."""
    if (part / "tokenizer.json").exists():
        return sorted(file for file in part.iterdir() if file.is_file())
    weights = sorted(part.glob("*model*.safetensors"))
    return [*weights, *sorted(part.glob("*config.json"))] if weights else []


def _copy(file: Path, target: Path) -> None:
    """Copy *file*; a configuration without the place where it was made."""
    if file.name != "config.json":
        shutil.copyfile(file, target)
        return
    config = json.loads(file.read_text())
    config.pop("_name_or_path", None)
    _write_json(target, config)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


if __name__ == "__main__":
    source = Path(sys.argv[1])
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent.parent / "mini"
    steps = [partial(assemble, row) for row in TRAINED]
    steps += [*(partial(place_network, name) for name in NETWORKS), copy_curves]
    for step in steps:
        try:
            print(step(source, target))
        except FileNotFoundError as missing:
            print(missing)
