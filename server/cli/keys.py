"""`wan-local keys`: who may use the server.

While there is no key, the server listens on loopback only and asks for none. A running server
sees a change at its next request.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer

from server.cli.exits import Exit, give_up
from server.cli.flags import AsJson, DataDir, load_settings
from server.keys import KeyRing, UnknownKey

keys = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="What to call it: a person, a machine.")] = "default",
    data_dir: DataDir = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it; it cannot be shown again."""
    try:
        id, secret = _ring(data_dir).create(name)
    except ValueError as error:
        give_up(Exit.USAGE, str(error))
    key = f"{id}:{secret}"
    if as_json:
        typer.echo(orjson.dumps({"id": id, "name": name, "key": key}))
        return
    typer.echo(f"export FAL_KEY={key}")


@keys.command("list")
def list_keys(data_dir: DataDir = None, *, as_json: AsJson = False) -> None:
    """List the keys, without their secrets."""
    rows = [
        {"id": key.id, "name": key.name, "created_at": key.created_at}
        for key in _ring(data_dir).list()
    ]
    if as_json:
        typer.echo(orjson.dumps(rows))
        return
    for row in rows:
        typer.echo(f"{row['id']}  {row['created_at']}  {row['name']}")
    if not rows:
        typer.echo("no keys: the server asks for none, and listens on loopback only", err=True)


@keys.command()
def revoke(
    id: Annotated[str, typer.Argument(help="The id that `keys list` shows.")],
    data_dir: DataDir = None,
) -> None:
    """Make a key worthless."""
    try:
        _ring(data_dir).revoke(id)
    except UnknownKey as error:
        give_up(Exit.USAGE, str(error))
    typer.echo(f"revoked {id}")


def _ring(data_dir: Path | None) -> KeyRing:
    folder = load_settings(data_dir=data_dir).data_dir
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return KeyRing(folder / "keys.json")
