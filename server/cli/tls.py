"""`wan-local tls`: the certificate that fal's Python client insists on."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer

from server.certificates import make_certificates
from server.cli.client_lines import python_lines
from server.cli.exits import Exit, give_up
from server.cli.flags import AsJson, DataDir, load_settings


def tls(
    hosts: Annotated[
        list[str] | None,
        typer.Argument(help="Names and addresses clients use, besides this machine's own."),
    ] = None,
    data_dir: DataDir = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Make a certificate for this machine, and print what clients need to trust it."""
    settings = load_settings(data_dir=data_dir)
    try:
        made = make_certificates(settings.data_dir / "tls", hosts or ())
    except ValueError as error:
        give_up(Exit.USAGE, str(error))
    if as_json:
        certificates = {
            "authority": str(made.authority),
            "certificate": str(made.certificate),
            "hosts": made.hosts,
            "expires_at": made.expires_at,
        }
        typer.echo(orjson.dumps(certificates))
        return
    typer.echo(f"# good for {', '.join(made.hosts)}")
    typer.echo(f"# until {made.expires_at:%Y-%m-%d}; a running server takes it at its next start")
    host = hosts[0] if hosts else "127.0.0.1"
    for line in python_lines(host, settings.tls_port or 8943, made.authority):
        typer.echo(line)
