"""`wan-local lora`: LoRAs that requests can ask for by name, and what a file would change."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer

from server.cli.exits import ENGINE_EXITS, Exit, give_up
from server.cli.flags import AsJson, WeightsDir, load_settings
from server.media.lora_library import Half, LoraLibrary
from wan_local.catalog import LORAS, LoraSpec
from wan_local.errors import WanLocalError, WeightsMissing
from wan_local.models.loras.coverage import guessed_expert
from wan_local.models.loras.files import lora_files
from wan_local.models.loras.fitting import fit
from wan_local.models.weights import find_checkpoint
from wan_local.plan import LoraRef

lora = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@lora.command()
def add(
    name: Annotated[str, typer.Argument(help="What requests call it.")],
    file: Annotated[Path, typer.Argument(help="A safetensors file; it is copied.")],
    half: Annotated[
        Half | None, typer.Option("--half", help="Which half of a pair it is: NAME@high, NAME@low.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Where it came from, to be kept.")] = None,
    weights_dir: WeightsDir = None,
) -> None:
    """Give a file a name."""
    full = f"{name}@{half}" if half else name
    try:
        sheet = _library(weights_dir).add(full, file, source)
    except WanLocalError as error:
        give_up(Exit.USAGE, f"{file}: {error}")
    except OSError as error:
        give_up(Exit.FAILED, f"{file}: {error.strerror}")
    typer.echo(f"added {sheet.name}  {sheet.size_bytes / 1e6:.1f} MB  sha256 {sheet.sha256}")
    guess = guessed_expert(file.name)
    if guess and half != guess:
        typer.echo(f"its name says {guess}-noise; --half {guess} would name it so", err=True)


@lora.command("list")
def list_loras(weights_dir: WeightsDir = None, *, as_json: AsJson = False) -> None:
    """List the names, and the pairs that turbo endpoints are made of."""
    folder = load_settings(weights_dir=weights_dir).weights_dir
    sheets = _library(weights_dir).list()
    if as_json:
        typer.echo(orjson.dumps([asdict(sheet) for sheet in sheets]))
        return
    for sheet in sheets:
        source = sheet.source or "put there by hand"
        typer.echo(f"{sheet.name}  {sheet.size_bytes / 1e6:.1f} MB  {sheet.sha256[:12]}  {source}")
    for spec in LORAS.values():
        typer.echo(f"{spec.id}: {spec.title} ({spec.license})\n  {_where(folder, spec)}")
    if not sheets:
        typer.echo("no LoRAs have names yet: wan-local lora add NAME FILE", err=True)


@lora.command()
def check(
    lora: Annotated[str, typer.Argument(help="A name, or a safetensors file.")],
    model: Annotated[str, typer.Option(help="Id as `models` lists it.")] = "wan2.2-t2v-a14b",
    weights_dir: WeightsDir = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Say what of a LoRA changes a model, and what does not and why."""
    folder = load_settings(weights_dir=weights_dir).weights_dir
    try:
        path = _library(weights_dir).path(lora) or Path(lora)
        report = fit(path, find_checkpoint(folder, model))
    except WanLocalError as error:
        give_up(ENGINE_EXITS.get(type(error).__name__, Exit.FAILED), f"{lora}: {error}")
    guess = guessed_expert(path.name)
    if as_json:
        row = asdict(report) | {"experts": sorted(report.experts), "guess": guess}
        typer.echo(orjson.dumps(row))
        return
    for line in report.lines():
        typer.echo(line)
    if guess:
        typer.echo(f"its name says it is for the {guess}-noise expert")


@lora.command()
def rm(
    name: Annotated[str, typer.Argument(help="As `lora list` shows it.")],
    weights_dir: WeightsDir = None,
) -> None:
    """Remove a file and its name."""
    if not _library(weights_dir).remove(name):
        give_up(Exit.USAGE, f"there is no LoRA {name!r}")
    typer.echo(f"removed {name}")


def _where(weights_dir: Path, spec: LoraSpec) -> str:
    try:
        (_, path), *_ = lora_files(weights_dir, LoraRef(name=spec.id, target="both"))
    except WeightsMissing as error:
        return str(error)
    return f"found in {path.parent}"


def _library(weights_dir: Path | None) -> LoraLibrary:
    return LoraLibrary(load_settings(weights_dir=weights_dir).weights_dir / "loras")
