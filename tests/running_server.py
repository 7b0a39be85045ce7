"""A real `wan-local serve` in a process of its own, for tests that need one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
STARTUP = 60.0
"""Seconds until the doors are open; importing everything on a busy machine is most of it."""


@dataclass(frozen=True)
class RunningServer:
    """Where the server is, and what a client has to know."""

    pid: int
    port: int
    tls_port: int | None
    ca: str | None
    folder: Path

    @property
    def url(self) -> str:
        """Base of its HTTP URLs."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def fal_environment(self) -> dict[str, str]:
        """The environment in which `fal_client` talks to this server and nothing else."""
        return {
            **os.environ,
            "FAL_RUN_HOST": f"127.0.0.1:{self.tls_port}/run",
            "FAL_QUEUE_RUN_HOST": f"127.0.0.1:{self.tls_port}/queue",
            "SSL_CERT_FILE": str(self.ca),
            "FAL_KEY": "any:thing",
        }


@contextmanager
def running_server(
    folder: Path, weights: Path, *flags: str, tls: bool = True, **settings: str
) -> Iterator[RunningServer]:
    """Run a server on free ports, on the CPU, with its data in *folder*.

    Args:
        folder: Data directory; made if it is missing.
        weights: Weights directory.
        flags: More flags of `serve`.
        tls: Whether to make a certificate first.
        settings: Environment variables, such as `WAN_LOCAL_MAX_QUEUED="5"`.
    """
    environment = os.environ | settings
    cli = [sys.executable, "-m", "server.cli"]
    folder.mkdir(exist_ok=True)
    if tls:
        subprocess.run(
            [*cli, "tls", "--data-dir", folder], cwd=ROOT, check=True, capture_output=True
        )
    ready, log = folder / "ready.json", folder / "server.log"
    ready.unlink(missing_ok=True)
    command = [*cli, "serve", "--data-dir", folder, "--weights-dir", weights, "--device", "cpu"]
    command += ["--port", "0", "--tls-port", "0", "--ready-file", ready, *flags]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + STARTUP
        while not ready.exists():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        place = json.loads(ready.read_text())
        yield RunningServer(place["pid"], place["port"], place["tls_port"], place["ca"], folder)
    finally:
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(60), log.read_text()
