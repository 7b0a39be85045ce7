"""Which files a checkpoint is made of, and whether they are on this machine.

Reads names and small JSON files only; no torch, so that the web process can ask too.
"""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from wan_local.catalog import ModelSpec, model_spec
from wan_local.errors import BadCheckpoint, InvalidPlan, WeightsMissing
from wan_local.geometry import Size


@dataclass(frozen=True, slots=True)
class Component:
    """A part of a checkpoint, as `model_index.json` names it."""

    classes: tuple[str, ...]
    """Class names it may have there."""
    required: tuple[str, ...]
    """Files it cannot do without."""
    weights: str | None = None
    """Name of the safetensors file, or of the whole that its shards make; None if it has none."""


_DIFFUSERS_WEIGHTS = "diffusion_pytorch_model.safetensors"

# Every part that some kind of checkpoint has; which of them one needs, its row says.
COMPONENTS = {
    "scheduler": Component(("UniPCMultistepScheduler",), ("scheduler_config.json",)),
    "tokenizer": Component(
        ("T5TokenizerFast", "T5Tokenizer", "PreTrainedTokenizerFast", "TokenizersBackend"),
        ("tokenizer.json",),
    ),
    "text_encoder": Component(("UMT5EncoderModel",), ("config.json",), "model.safetensors"),
    "transformer": Component(("WanTransformer3DModel",), ("config.json",), _DIFFUSERS_WEIGHTS),
    "transformer_2": Component(("WanTransformer3DModel",), ("config.json",), _DIFFUSERS_WEIGHTS),
    "vae": Component(("AutoencoderKLWan",), ("config.json",), _DIFFUSERS_WEIGHTS),
}


@dataclass(frozen=True, slots=True)
class SmallCheckpoint:
    """What a checkpoint that is a small stand-in says of itself in its `wan_local.json`."""

    title: str
    sizes: dict[Size, Size]
    """Size asked for -> size generated."""

    def size_for(self, asked: Size, grid: int) -> Size:
        """Return the size, of whole *grid*s, at which a plan of size *asked* is generated.

        A size that is not in the table is kept if it has no more pixels than the largest one the
        table generates: what is small enough needs no scaling. A larger one keeps its shape and is
        scaled as its nearest in the table is, or down to that largest one; of the sizes on the
        grid around that, the one whose shape is the nearest is taken.
        """
        if asked in self.sizes:
            return self.sizes[asked]
        limit = max(map(_pixels, self.sizes.values()))
        if _pixels(asked) <= limit:
            return asked
        nearest = min(self.sizes, key=lambda size: abs(_pixels(size) - _pixels(asked)))
        scale = math.sqrt(
            min(_pixels(self.sizes[nearest]) / _pixels(nearest), limit / _pixels(asked))
        )
        sides = [int(side * scale) // grid * grid for side in (asked.width, asked.height)]
        around = [
            Size(max(grid, width), max(grid, height))
            for width, height in product(*((side, side + grid) for side in sides))
        ]
        # The first is the smallest: too large only for a strip that is one grid wide.
        fitting = [size for size in around if _pixels(size) <= limit] or around[:1]

        def distance(size: Size) -> tuple[float, int]:
            ratio = size.width * asked.height / (size.height * asked.width)
            return abs(math.log(ratio)), -_pixels(size)

        return min(fitting, key=distance)


def find_checkpoint(weights_dir: Path, model_id: str) -> Path:
    """Return the folder of checkpoint *model_id*, every file of it in place.

    Raises:
        UnknownModel: If the catalog has no such row.
        WeightsMissing: If there is no such folder; the message holds the command to fetch it.
        BadCheckpoint: If a file is missing or empty, or a part is of another class.
    """
    spec = model_spec(model_id)
    folder = weights_dir.absolute() / spec.id
    index = folder / "model_index.json"
    if not index.is_file():
        size = f" ({spec.download_gb:.0f} GB)" if spec.download_gb else ""
        msg = (
            f"{spec.title} is not on this machine: there is no {index}. "
            f"Fetch it{size} with: {fetch_command(weights_dir, spec)}"
        )
        raise WeightsMissing(msg)
    parts = _read_object(index)
    names = ("scheduler", "tokenizer", *spec.components)
    missing = [path for name in names for path in _missing(folder, name, parts.get(name))]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        msg = (
            f"{spec.title} is incomplete: {missing[0]} is missing or empty{more}. "
            f"This fetches the rest: {fetch_command(weights_dir, spec)}"
        )
        raise BadCheckpoint(msg)
    _refuse_another_kind(folder, spec)
    return folder


def fetch_command(weights_dir: Path, spec: ModelSpec) -> str:
    """Return the shell command that puts the checkpoint of *spec* into *weights_dir*."""
    folder = shlex.quote(str(weights_dir.absolute() / spec.id))
    return f"hf download {spec.repo} --local-dir {folder}"


def small_checkpoint(folder: Path) -> SmallCheckpoint | None:
    """Return what `wan_local.json` in *folder* says, or None for a full-size checkpoint.

    Raises:
        BadCheckpoint: If the file is there and cannot be understood.
    """
    path = folder / "wan_local.json"
    if not path.is_file():
        return None
    value = _read_object(path)
    try:
        sizes = {
            Size(*map(int, asked.split("x"))): Size(*map(int, generated))
            for asked, generated in value["sizes"].items()
        }
        small = SmallCheckpoint(str(value["title"]), sizes)
    except (KeyError, TypeError, ValueError, AttributeError, InvalidPlan) as error:
        msg = f'{path} must hold {{"title": ..., "sizes": {{"1280x720": [224, 128]}}}}: {error}'
        raise BadCheckpoint(msg) from error
    if not sizes:
        msg = f"{path} has an empty table of sizes"
        raise BadCheckpoint(msg)
    return small


def weight_files(folder: Path, name: str) -> list[Path]:
    """Return the file *name* in *folder*, or the shards that its index says it is made of.

    Raises:
        BadCheckpoint: If there is an index and it cannot be understood.
    """
    index = folder / f"{name}.index.json"
    if not index.is_file():
        return [folder / name]
    shards = _read_object(index).get("weight_map")
    # A shard's name becomes a path: nothing but a plain file name beside the index is one.
    if not (isinstance(shards, dict) and shards and all(map(_is_file_name, shards.values()))):
        msg = f"{index} has no map of weights to files beside it"
        raise BadCheckpoint(msg)
    return [folder / shard for shard in sorted(set(shards.values()))]


def _missing(folder: Path, name: str, entry: Any) -> list[Path]:
    component = COMPONENTS[name]
    cls = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
    if cls not in component.classes:
        msg = f"{folder / 'model_index.json'}: {name} must be a {component.classes[0]}, not {cls}"
        raise BadCheckpoint(msg)
    files = [folder / name / file for file in component.required]
    if component.weights:
        files += weight_files(folder / name, component.weights)
    return [file for file in files if not (file.is_file() and file.stat().st_size)]


def _refuse_another_kind(folder: Path, spec: ModelSpec) -> None:
    """Compare what tells one kind from another: the channels that go into each part."""
    expected = dict.fromkeys(spec.experts, ("in_channels", spec.input_channels))
    for name, (field, channels) in {**expected, "vae": ("z_dim", spec.latent_channels)}.items():
        path = folder / name / "config.json"
        found = _read_object(path).get(field, 16)  # diffusers' default, for both
        if found != channels:
            msg = f"{path} is not of {spec.title}: {field} is {found} and must be {channels}"
            raise BadCheckpoint(msg)


def _is_file_name(name: Any) -> bool:
    return isinstance(name, str) and name not in {"", ".", ".."} and Path(name).name == name


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path} cannot be read: {error}"
        raise BadCheckpoint(msg) from error
    if not isinstance(value, dict):
        msg = f"{path} must hold a JSON object"
        raise BadCheckpoint(msg)
    return value


def _pixels(size: Size) -> int:
    return size.width * size.height
