"""`wan-local serve`: the whole house in one process, plus one child per GPU."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import orjson
import typer

from server.certificates import Certificates, find_certificates
from server.cli.client_lines import authority, javascript_line, python_lines
from server.cli.exits import Exit, give_up
from server.cli.flags import DataDir, DeviceFlag, QuantizationFlag, WeightsDir, load_settings
from server.cli.house import House, NoSlots, open_house
from server.cli.listening import Door, PortTaken, listen, reserve
from server.cli.models import where
from server.disk import write_private
from server.endpoints import ENDPOINTS
from server.jobs.sqlite import BadDatabase
from server.keys import KeyRing
from server.media.fetch_policy import BadRule
from server.services import DataInUse
from server.settings import Settings
from server.telemetry import configure_logging
from wan_local.catalog import MODELS
from wan_local.models.weights import small_checkpoint


def serve(  # noqa: PLR0913 - each parameter is a flag
    data_dir: DataDir = None,
    weights_dir: WeightsDir = None,
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="HTTP port; 0 takes a free one.")] = None,
    tls_port: Annotated[int | None, typer.Option(help="HTTPS port; 0 takes a free one.")] = None,
    public_url: Annotated[
        str | None, typer.Option(help="Base of returned URLs, behind a proxy.")
    ] = None,
    device: DeviceFlag = None,
    quantization: QuantizationFlag = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="File to write ports and pid to, once the doors are open.")
    ] = None,
) -> None:
    """Serve fal's queue API until SIGTERM or Ctrl-C; a second one ends it at once.

    Every other setting is an environment variable (WAN_LOCAL_MAX_QUEUED=500) or a line in
    wan-local.toml.
    """
    settings = load_settings(
        data_dir=data_dir,
        weights_dir=weights_dir,
        host=host,
        port=port,
        tls_port=tls_port,
        public_url=public_url,
        device=device,
        quantization=quantization,
    )
    _refuse_strangers(settings)
    try:
        _serve(settings, ready_file)
    except (PortTaken, DataInUse, BadRule) as error:
        give_up(Exit.USAGE, str(error))
    except BadDatabase as error:
        give_up(Exit.FAILED, str(error))
    except NoSlots as error:
        give_up(Exit.NO_GPU, str(error))


def _refuse_strangers(settings: Settings) -> None:
    """Refuse to be reachable from outside while anybody could use the GPU."""
    if settings.on_loopback or not KeyRing(settings.data_dir / "keys.json").empty:
        return
    give_up(
        Exit.USAGE,
        f"{settings.host} can be reached from other machines and there is no API key; "
        f"make one first: wan-local keys create --data-dir {settings.data_dir}",
    )


def _serve(settings: Settings, ready_file: Path | None) -> None:
    certificates = find_certificates(settings.data_dir / "tls")
    with ExitStack() as held:
        doors = [held.enter_context(reserve(settings.host, settings.port))]
        if certificates is not None and settings.tls_port is not None:
            pair = certificates.certificate, certificates.key
            doors.append(held.enter_context(reserve(settings.host, settings.tls_port, pair)))
        house = open_house(settings)
        held.callback(house.close)
        configure_logging()
        # What was imported stays for good: the collector need not look at it ever again.
        gc.collect()
        gc.freeze()
        announce = partial(_announce, settings, doors, certificates, ready_file)
        asyncio.run(_live(house, doors, announce))


async def _live(house: House, doors: list[Door], announce: partial[None]) -> None:
    """Serve until a signal comes; polls are still answered while running jobs end."""
    stopping, closed = asyncio.Event(), asyncio.Event()
    _on_signals(stopping)
    # In a thread, as is the end: both wait for other processes, and the doors are open meanwhile.
    await asyncio.to_thread(house.start)
    listening = asyncio.create_task(listen(house.app, doors, until=closed, on_open=announce))
    signalled = asyncio.create_task(stopping.wait())
    await asyncio.wait([listening, signalled], return_when=asyncio.FIRST_COMPLETED)
    signalled.cancel()
    await asyncio.to_thread(house.drain)
    closed.set()
    await listening


def _on_signals(stopping: asyncio.Event) -> None:
    def stop() -> None:
        if stopping.is_set():
            # Jobs are safe: the next start finds them, and the GPU processes that still run them.
            os._exit(Exit.FAILED)
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)


def _announce(
    settings: Settings,
    doors: list[Door],
    certificates: Certificates | None,
    ready_file: Path | None,
) -> None:
    """Say where the server is, to people on stdout and to programs in *ready_file*."""
    ports = [door.port for door in doors]
    for line in greeting(settings, ports, certificates):
        typer.echo(line)
    sys.stdout.flush()
    if ready_file is not None:
        ready = {
            "pid": os.getpid(),
            "host": settings.host,
            "port": ports[0],
            "tls_port": ports[1] if len(ports) > 1 else None,
            "ca": str(certificates.authority) if certificates else None,
        }
        write_private(ready_file, orjson.dumps(ready))


def greeting(settings: Settings, ports: list[int], certificates: Certificates | None) -> list[str]:
    """Return the lines that `serve` prints once its doors are open."""
    lines = [f"wan-local listens on http://{authority(settings.host, ports[0])}"]
    lines += [f"  {endpoint}" for endpoint in ENDPOINTS]
    lines += [_describe(settings, model) for model in MODELS]
    lines += ["", "JavaScript (@fal-ai/client from 1.10 on):"]
    lines.append(f"  {javascript_line(settings.host, ports[0])}")
    lines += ["", "Python (fal_client), before it is imported:"]
    if certificates is None or len(ports) < 2:
        return [*lines, "  needs a certificate: wan-local tls, then start again"]
    exports = python_lines(settings.host, ports[1], certificates.authority)
    return [*lines, *(f"  {line}" for line in exports)]


def _describe(settings: Settings, model: str) -> str:
    place = where(settings.weights_dir, model)
    small = small_checkpoint(place) if isinstance(place, Path) else None
    return f"  {model}: {place}{f', {small.title}' if small else ''}"
