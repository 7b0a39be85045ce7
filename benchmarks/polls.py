"""What a status poll and a submission cost the server: CPU time, measured from outside.

    python -m benchmarks.polls [--polls 5000] [--submits 2000]

Needs `make install`. Starts `wan-local serve` with an engine that never ends a job, fills the
queue, and asks over kept-alive connections on loopback: one, which pays for a wake-up of every
thread on the way with each request, and 64 at once, as a server with many waiting clients sees
them. The CPU time is the server process's own, from /proc, so the client's share is not in it.
Prints a table and writes benchmarks/results/<date>-polls-<cpu>.json.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.recording import ROOT, machine, record
from wan_local.events import Event, StepDone

ENDPOINT = "/queue/fal-ai/wan/v2.2-a14b/text-to-video"
TICKS = os.sysconf("SC_CLK_TCK")
CONNECTIONS = 64


class EndlessEngine:
    """Stands in for the engine: the first job runs for ever and all others wait."""

    device_name = "none"

    def run(self, _plan: object, _output: Path) -> Generator[Event, None, None]:
        """Say once a second that a step is done."""
        while True:
            yield StepDone(1, 2)
            time.sleep(1)

    def close(self) -> None:
        """Let go of nothing."""


def endless_engine(_weights_dir: Path, _device: str) -> EndlessEngine:
    """Open the engine; named by the setting WAN_LOCAL_ENGINE."""
    return EndlessEngine()


@dataclass(frozen=True)
class Cost:
    """Of one request, on average."""

    what: str
    requests: int
    server_cpu_us: float
    wall_us: float


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="CPU time per status poll and per submission.")
    parser.add_argument("--polls", type=int, default=5000)
    parser.add_argument("--submits", type=int, default=2000)
    arguments = parser.parse_args()
    on = machine()
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as (pid, port):
        costs = measure(pid, port, polls=arguments.polls, submits=arguments.submits)
    print(f"\n{'':24}{'requests':>10}{'server CPU':>14}{'wall':>12}")
    for cost in costs:
        cpu, wall = f"{cost.server_cpu_us:.0f} µs", f"{cost.wall_us:.0f} µs"
        print(f"{cost.what:24}{cost.requests:>10}{cpu:>14}{wall:>12}")
    print(f"\n{record('polls', on, {'costs': [asdict(cost) for cost in costs]})}")


def measure(pid: int, port: int, *, polls: int, submits: int) -> list[Cost]:
    """Fill the queue, then poll jobs at its head, its middle and its end."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    ids: list[str] = []

    def submit() -> None:
        body = json.dumps({"prompt": "a red balloon rises over the city", "seed": len(ids)})
        ids.append(ask(connection, "POST", ENDPOINT, body)["request_id"])

    def poll(id: str) -> Callable[[], None]:
        path = f"/queue/fal-ai/wan/requests/{id}/status?logs=1"
        return lambda: void(ask(connection, "GET", path))

    for _ in range(50):
        submit()
    costs = [cost(pid, "submit", submits, submit)]
    costs.append(cost(pid, "poll, running", polls, poll(ids[0])))
    costs.append(cost(pid, f"poll, {len(ids) // 2} ahead", polls, poll(ids[len(ids) // 2])))
    costs.append(cost(pid, f"poll, {len(ids) - 2} ahead", polls, poll(ids[-1])))
    middle = f"/queue/fal-ai/wan/requests/{ids[len(ids) // 2]}/status?logs=1"
    costs.append(cost_of_many(pid, port, middle, polls=polls))
    return costs


def cost(pid: int, what: str, requests: int, request: Callable[[], None]) -> Cost:
    """Make *requests* requests one after the other and share out what they cost."""
    cpu, wall = cpu_seconds(pid), time.perf_counter()
    for _ in range(requests):
        request()
    wall, cpu = time.perf_counter() - wall, cpu_seconds(pid) - cpu
    return Cost(what, requests, cpu / requests * 1e6, wall / requests * 1e6)


def cost_of_many(pid: int, port: int, path: str, *, polls: int) -> Cost:
    """Poll over CONNECTIONS connections at once; the wall time is one client's wait."""
    cpu, wall = cpu_seconds(pid), time.perf_counter()
    asyncio.run(_poll_at_once(port, path, polls // CONNECTIONS))
    wall, cpu = time.perf_counter() - wall, cpu_seconds(pid) - cpu
    made = polls // CONNECTIONS * CONNECTIONS
    what = f"poll, {CONNECTIONS} connections"
    return Cost(what, made, cpu / made * 1e6, wall / (made / CONNECTIONS) * 1e6)


async def _poll_at_once(port: int, path: str, each: int) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(each):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 202"):
                raise RuntimeError(head.decode())
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
        writer.close()

    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: str | None = None
) -> dict[str, Any]:
    """Make one request on the kept-alive connection."""
    connection.request(method, path, body, {"content-type": "application/json"})
    response = connection.getresponse()
    answer: dict[str, Any] = json.loads(response.read())
    if response.status not in {200, 202}:
        msg = f"{method} {path}: {response.status} {answer}"
        raise RuntimeError(msg)
    return answer


def void(_: object) -> None:
    """Drop a value."""


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of process *pid*, all its threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@contextmanager
def server(folder: Path) -> Iterator[tuple[int, int]]:
    """Run a server with the endless engine; yields its process id and its port."""
    ready = folder / "ready.json"
    # The checkpoint is looked for at submission; the endless engine never opens it.
    weights = ROOT / "weights" / "mini"
    flags = ["--data-dir", folder, "--weights-dir", weights, "--device", "cpu"]
    flags += ["--port", "0", "--ready-file", ready]
    environment = os.environ | {"WAN_LOCAL_ENGINE": "benchmarks.polls:endless_engine"}
    environment |= {"WAN_LOCAL_DRAIN_TIMEOUT": "0"}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "server.cli", "serve", *flags],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        while not ready.exists():
            if process.poll() is not None:
                sys.exit((folder / "server.log").read_text())
            time.sleep(0.05)
        place = json.loads(ready.read_text())
        yield place["pid"], place["port"]
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
