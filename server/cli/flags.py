"""The flags that several commands share, and the settings they make."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import ValidationError

from server.cli.exits import Exit, give_up
from server.settings import Settings
from wan_local.catalog import Quantization

Device = Literal["auto", "cuda", "cpu"]

DataDir = Annotated[Path | None, typer.Option(help="Folder of jobs, files, keys and certificates.")]
WeightsDir = Annotated[Path | None, typer.Option(help="Folder that holds one folder per model.")]
DeviceFlag = Annotated[
    Device | None, typer.Option("--device", help="Where to run: every GPU, or the CPU.")
]
QuantizationFlag = Annotated[
    Quantization | None,
    typer.Option("--quantization", help="How the experts' weights are kept, in 8 bits or not."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def load_settings(**flags: Any) -> Settings:
    """Return the settings with *flags* on top; a flag that is None was not given."""
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        give_up(Exit.USAGE, "; ".join(lines))
