"""The command line: `wan-local`, the only place that wires everything together.

No module here imports torch: what needs it runs in a child process.
"""

from __future__ import annotations

import typer

from server.cli.doctor import doctor
from server.cli.exits import exit_table
from server.cli.generate import generate
from server.cli.inspect import inspect
from server.cli.keys import keys
from server.cli.lora import lora
from server.cli.models import models
from server.cli.serve import serve
from server.cli.tls import tls

app = typer.Typer(
    name="wan-local",
    help=f"Wan 2.2 A14B on your own GPUs, behind fal's queue API.\n\n{exit_table()}",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(serve)
app.command()(generate)
app.command()(inspect)
app.command()(doctor)
app.command()(tls)
app.command()(models)
app.add_typer(lora, name="lora", help="Name, list, check and remove LoRAs.")
app.add_typer(keys, name="keys", help="Make, list and revoke API keys.")
