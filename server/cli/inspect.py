"""`wan-local inspect`: how a file was made, and whether making it again gives the same bytes."""

from __future__ import annotations

import filecmp
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from server.cli.exits import Exit, give_up
from server.cli.flags import AsJson, DeviceFlag, WeightsDir
from server.output_style import REDACTED
from server.settings import child_environment
from wan_local.record import Record, from_json
from wan_local.video.comments import comment_of


def inspect(
    file: Annotated[Path, typer.Argument(help="A video, picture or zip that wan-local made.")],
    weights_dir: WeightsDir = None,
    device: DeviceFlag = None,
    *,
    replay: Annotated[
        bool, typer.Option("--replay", help="Make it again and compare; exit 1 if it differs.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print what a file says of how it was made."""
    record = _record(file)
    if as_json:
        typer.echo(orjson.dumps(record))
    else:
        typer.echo("\n".join(f"{name}: {value}" for name, value in _flat("", record)))
    if replay:
        _replay(file, record, _flags(weights_dir, device))


def _record(file: Path) -> Record:
    try:
        comment = comment_of(file)
    except OSError as error:
        give_up(Exit.USAGE, f"{file}: {error.strerror}")
    record = from_json(comment) if comment else None
    if record is None:
        give_up(Exit.FAILED, f"{file} does not say how it was made")
    return record


def _replay(file: Path, record: Record, flags: list[str]) -> None:
    """Make the file again with `wan-local generate`, in the style it was made in."""
    if "request" not in record:
        give_up(Exit.FAILED, f"{file} does not say what was asked for: its metadata is minimal")
    if _has_hashed_data(record["request"]):
        give_up(Exit.FAILED, "its request held a file as data, of which only the hash is recorded")
    if any(REDACTED in text for _, text in _flat("", record["request"])):
        give_up(Exit.FAILED, "its request held a signed URL, whose signature is not recorded")
    with tempfile.TemporaryDirectory(prefix="wan-local-replay-") as folder:
        body, again = Path(folder) / "request.json", Path(folder) / f"again{file.suffix}"
        body.write_bytes(orjson.dumps(record["request"]))
        made = subprocess.run(
            [
                *[sys.executable, "-m", "server.cli", "generate", record["endpoint"]],
                *["--input", str(body), "--seed", str(record["seed"]), "-o", str(again), *flags],
            ],
            env=child_environment(**_style(record, folder)),
            stdout=subprocess.DEVNULL,
            check=False,
        )
        if made.returncode != Exit.OK:
            raise typer.Exit(made.returncode)
        _compare(file, again)


def _compare(file: Path, again: Path) -> None:
    if not filecmp.cmp(file, again, shallow=False):
        why = _difference(_record(file), _record(again))
        give_up(Exit.FAILED, f"the same request makes another file here: {why}")
    typer.echo("the same request makes the same bytes again")


def _style(record: Record, folder: str) -> dict[str, str]:
    """Return the settings that the file was made under."""
    encoding = record["encoding"]
    # Files from before there was a choice do not say.
    precision = record.get("precision", {"quantization": "none"})
    return {
        "WAN_LOCAL_VIDEO_FORMAT": encoding["format"],
        "WAN_LOCAL_NVENC": str(encoding["encoder"] == "nvenc"),
        "WAN_LOCAL_QUANTIZATION": precision["quantization"],
        "WAN_LOCAL_METADATA": "full",
        "WAN_LOCAL_SIDECAR_DIR": folder,
    }


def _difference(record: Record, other: Record) -> str:
    """Return what the two records disagree about."""
    now = dict(_flat("", other))
    parts = [
        f"{name} was {value} and is {now.get(name, 'not there')}"
        for name, value in _flat("", record)
        if now.get(name) != value
    ]
    return "; ".join(parts) or "its record is the same, its pictures or its encoder are not"


def _flags(weights_dir: Path | None, device: str | None) -> list[str]:
    given = {"--weights-dir": weights_dir, "--device": device}
    return [part for name, value in given.items() if value for part in (name, str(value))]


def _has_hashed_data(value: Any) -> bool:
    return any(text.startswith("sha256:") for _, text in _flat("", value))


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    """Return *value* as rows of name and text, what is nested with dots."""
    if not isinstance(value, dict | list):
        return [(prefix, "-" if value is None else str(value))]
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return [
        row
        for name, inner in items
        for row in _flat(f"{prefix}.{name}" if prefix else str(name), inner)
    ]
