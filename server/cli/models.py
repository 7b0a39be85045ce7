"""`wan-local models`: what can be asked for, and what is on this machine to answer it.

To add a kind of file that requests may need beside a checkpoint: a row in BESIDE.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import orjson
import typer

from server.cli.flags import AsJson, WeightsDir, load_settings
from server.endpoints import ENDPOINTS
from wan_local.catalog import INTERPOLATORS, LORAS, MODELS, PREVIEW_DECODERS, ModelSpec
from wan_local.errors import BadCheckpoint, WeightsMissing
from wan_local.models.interpolators import find_interpolator
from wan_local.models.loras.files import lora_files
from wan_local.models.weights import find_checkpoint
from wan_local.plan import LoraRef


def _find_pair(weights_dir: Path, name: str) -> Path:
    return lora_files(weights_dir, LoraRef(name=name))[0][1].parent


def _find_decoder(weights_dir: Path, name: str) -> Path:
    spec = next(decoder for decoder in PREVIEW_DECODERS.values() if decoder.id == name)
    path = weights_dir.absolute() / spec.file
    if not path.is_file():
        command = f"curl -fL --create-dirs -o {shlex.quote(str(path))} {spec.url}"
        msg = f"previews are drawn without it; fetch it with: {command}"
        raise WeightsMissing(msg)
    return path


BESIDE: dict[str, tuple[dict[str, str], Callable[[Path, str], Path]]] = {
    # kind: titles by id, and how one of them is found
    "lora": ({lora.id: f"{lora.title} ({lora.license})" for lora in LORAS.values()}, _find_pair),
    "interpolator": (
        {
            row.id: f"{row.title}, frames between frames ({row.license})"
            for row in INTERPOLATORS.values()
        },
        find_interpolator,
    ),
    "preview decoder": (
        {row.id: f"better previews ({row.license})" for row in PREVIEW_DECODERS.values()},
        _find_decoder,
    ),
}


def models(weights_dir: WeightsDir = None, *, as_json: AsJson = False) -> None:
    """List endpoints, their models, and where each checkpoint is or how to get it."""
    folder = load_settings(weights_dir=weights_dir).weights_dir
    found = {id: where(folder, id) for id in MODELS}
    if as_json:
        rows = [_row(model, found[model.id]) for model in MODELS.values()]
        rows += [
            {"kind": kind, "id": id, "title": title, **_found(_where(find, folder, id))}
            for kind, (titles, find) in BESIDE.items()
            for id, title in titles.items()
        ]
        typer.echo(orjson.dumps(rows))
        return
    for model in MODELS.values():
        typer.echo(f"{model.id}: {model.title} ({model.license})")
        for endpoint in _served_by(model):
            typer.echo(f"  {endpoint}")
        _tell(found[model.id])
    for kind, (titles, find) in BESIDE.items():
        for id, title in titles.items():
            typer.echo(f"{kind} {id}: {title}")
            _tell(_where(find, folder, id))


def where(weights_dir: Path, model: str) -> Path | str:
    """Return the folder of *model*'s checkpoint, or the sentence that says what is wrong."""
    return _where(find_checkpoint, weights_dir, model)


def _where(find: Callable[[Path, str], Path], weights_dir: Path, id: str) -> Path | str:
    try:
        return find(weights_dir, id)
    except (WeightsMissing, BadCheckpoint) as error:
        return str(error)


def _tell(path: Path | str) -> None:
    typer.echo(f"  found in {path}" if isinstance(path, Path) else f"  {path}")


def _found(path: Path | str) -> dict[str, str | None]:
    here = isinstance(path, Path)
    return {"path": str(path) if here else None, "problem": None if here else str(path)}


def _row(model: ModelSpec, path: Path | str) -> dict[str, object]:
    return {
        "kind": "model",
        "id": model.id,
        "title": model.title,
        "license": model.license,
        "download_gb": model.download_gb,
        "endpoints": _served_by(model),
        **_found(path),
    }


def _served_by(model: ModelSpec) -> list[str]:
    return [endpoint.id for endpoint in ENDPOINTS.values() if endpoint.model == model.id]
