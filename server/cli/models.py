"""`wan-local models`: what can be asked for, and what is on this machine to answer it."""

from __future__ import annotations

from pathlib import Path

import orjson
import typer

from server.cli.flags import AsJson, WeightsDir, load_settings
from server.endpoints import ENDPOINTS
from wan_local.catalog import MODELS, ModelSpec
from wan_local.errors import BadCheckpoint, WeightsMissing
from wan_local.models.weights import find_checkpoint


def models(weights_dir: WeightsDir = None, *, as_json: AsJson = False) -> None:
    """List endpoints, their models, and where each checkpoint is or how to get it."""
    folder = load_settings(weights_dir=weights_dir).weights_dir
    found = {id: where(folder, id) for id in MODELS}
    if as_json:
        rows = [_row(model, found[model.id]) for model in MODELS.values()]
        typer.echo(orjson.dumps(rows))
        return
    for model in MODELS.values():
        typer.echo(f"{model.id}: {model.title} ({model.license})")
        for endpoint in _served_by(model):
            typer.echo(f"  {endpoint}")
        path = found[model.id]
        typer.echo(f"  found in {path}" if isinstance(path, Path) else f"  {path}")


def where(weights_dir: Path, model: str) -> Path | str:
    """Return the folder of *model*'s checkpoint, or the sentence that says what is wrong."""
    try:
        return find_checkpoint(weights_dir, model)
    except (WeightsMissing, BadCheckpoint) as error:
        return str(error)


def _row(model: ModelSpec, path: Path | str) -> dict[str, object]:
    here = isinstance(path, Path)
    return {
        "id": model.id,
        "title": model.title,
        "license": model.license,
        "download_gb": model.download_gb,
        "endpoints": _served_by(model),
        "path": str(path) if here else None,
        "problem": None if here else path,
    }


def _served_by(model: ModelSpec) -> list[str]:
    return [endpoint.id for endpoint in ENDPOINTS.values() if endpoint.model == model.id]
