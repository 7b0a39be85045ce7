"""Kill the GPU process and the server in the middle of jobs, and count what is lost or doubled.

    python -m benchmarks.chaos [--gpu-kills 20] [--server-kills 20] [--seed 1]

Starts `wan-local serve` on the CPU; four clients submit with an Idempotency-Key, retry until they
are answered, and fetch what they get. Each kill is a kill -9 at a random moment while a job is in
progress, and a killed server is started again. In the end every acknowledged job must have
succeeded once, its video must be whole, and nothing else may be there. Exits with 1 if not. Prints
a table and writes benchmarks/results/<date>-chaos-<cpu>.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.recording import ROOT, machine, record

T = TypeVar("T")

APP = "fal-ai/wan"
ENDPOINT = f"{APP}/v2.2-a14b/text-to-video"
CLIENTS = 4
PATIENCE = 180.0
"""Seconds for anything to happen; a harness that waits for ever proves nothing."""
POLL = 0.1
"""Seconds between two polls of a client: what fal's own client does."""
SMALL_VIDEO = {"resolution": "480p", "num_frames": 17, "num_inference_steps": 40, "seed": 7}


@dataclass(frozen=True)
class Order:
    """What to do to the server."""

    gpu_kills: int
    server_kills: int
    seed: int
    engine: str = "wan_local.engine:open_engine"
    prompt: str = "a red balloon rises over the city"
    spread: float = 2.5
    """A kill comes up to so many seconds after a job was seen in progress."""


@dataclass
class Verdict:
    """What came of it; every number but the first six should be zero."""

    gpu_kills: int = 0
    server_kills: int = 0
    acknowledged: int = 0
    attempts: int = 0
    adopted: int = 0
    """Kills of the server after which the job in progress ended in the same attempt."""
    seconds: float = 0.0
    lost: int = 0
    """Acknowledged and not succeeded."""
    doubled: int = 0
    """Rows beyond one for each key, and results that changed once they had been fetched."""
    broken: int = 0
    """Videos that cannot be fetched, or whose bytes are not what the server hashed."""
    orphans: int = 0
    """GPU processes that outlive a server which was stopped in good order."""
    leftovers: int = 0
    """Files in `outputs/` that nobody will fetch."""

    @property
    def good(self) -> bool:
        """Whether nothing is lost and nothing is doubled."""
        return not any([self.lost, self.doubled, self.broken, self.orphans, self.leftovers])


class Server:
    """`wan-local serve` in a process of its own, always on the same port."""

    def __init__(self, folder: Path, order: Order) -> None:
        self.data = folder / "data"
        self._log = folder / "server.log"
        self._order = order
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Base of its URLs."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it; clients find out by themselves when it answers."""
        flags = ["--data-dir", self.data, "--weights-dir", ROOT / "weights" / "mini"]
        flags += ["--device", "cpu", "--port", str(self._port)]
        environment = os.environ | {
            "WAN_LOCAL_ENGINE": self._order.engine,
            # One job may be hit by many kills, and none of them is its fault.
            "WAN_LOCAL_MAX_ATTEMPTS": "1000",
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "server.cli", "serve", *flags],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """Kill -9, and wait until the kernel has taken its locks and its port back."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """End it in good order."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)

    def children(self) -> list[int]:
        """Return the GPU processes of this data directory, whoever started them."""
        return [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and self._owns(entry)
        ]

    def _owns(self, entry: Path) -> bool:
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            return False
        return b"server.dispatch.gpu_process" in command and os.fsencode(self.data) in command

    def log_tail(self) -> str:
        """Return the end of its log."""
        return self._log.read_text()[-4000:]


@dataclass
class Clients:
    """Four clients that want videos until they are told that it is enough."""

    server: Server
    order: Order
    enough: threading.Event = field(default_factory=threading.Event)
    keys: dict[str, str] = field(default_factory=dict)
    """Idempotency key -> id of the job, once acknowledged."""
    results: dict[str, Any] = field(default_factory=dict)
    """Id -> the result as it was first fetched."""
    in_progress: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)

    def start(self) -> list[threading.Thread]:
        """Set them to work."""
        threads = [threading.Thread(target=self._work) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        return threads

    def ask(self, path: str, body: dict[str, Any] | None = None, key: str = "") -> Any:
        """Ask until there is an answer, as a client that wants its video does."""
        headers = {"content-type": "application/json"} | ({"idempotency-key": key} if key else {})
        data = None if body is None else json.dumps(body).encode()

        def once() -> Any:
            request = urllib.request.Request(self.server.url + path, data, headers)
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.load(answer)
            except (OSError, ValueError) as error:
                # A 4xx is an answer; a refused connection or half a body is a killed server.
                if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                    return {"status_code": error.code} | json.loads(error.read())
                return None

        return wait_for(once, f"an answer to {path}")

    def _work(self) -> None:
        try:
            while not self.enough.is_set():
                key = uuid.uuid4().hex
                wish = SMALL_VIDEO | {"prompt": self.order.prompt}
                id = self.ask(f"/queue/{ENDPOINT}", wish, key)["request_id"]
                self.keys[key] = id
                self._follow(id)
        except Exception as error:  # noqa: BLE001 - said by the main thread, which waits for us
            self.failures.append(repr(error))

    def _follow(self, id: str) -> None:
        while True:
            status = self.ask(f"/queue/{APP}/requests/{id}/status")["status"]
            if status == "IN_PROGRESS":
                self.in_progress.add(id)
            else:
                self.in_progress.discard(id)
            if status == "COMPLETED":
                self.results[id] = self.ask(f"/queue/{APP}/requests/{id}")
                return
            time.sleep(POLL)


def wait_for(happens: Callable[[], T | None], what: str) -> T:
    """Return what *happens* returns once it is true.

    Raises:
        TimeoutError: If it never is.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        value = happens()
        if value:
            return value
        if time.monotonic() > deadline:
            msg = f"{what} did not come in {PATIENCE:.0f} s"
            raise TimeoutError(msg)
        time.sleep(0.05)


def run(order: Order, folder: Path) -> Verdict:
    """Kill as ordered, let everything end, and look at what is there."""
    began = time.monotonic()
    server = Server(folder, order)
    clients = Clients(server, order)
    verdict = Verdict()
    server.start()
    threads = clients.start()
    try:
        strike_all(server, clients, order, verdict)
        clients.enough.set()
        for thread in threads:
            thread.join(PATIENCE)
        inspect(server, clients, verdict)
    except Exception:
        sys.stderr.write(server.log_tail())
        raise
    finally:
        clients.enough.set()
        server.stop()
    leave(server, verdict)
    verdict.seconds = round(time.monotonic() - began, 1)
    if clients.failures:
        raise RuntimeError(clients.failures)
    return verdict


def strike_all(server: Server, clients: Clients, order: Order, verdict: Verdict) -> None:
    """Kill in a random order, each time while a job is in progress."""
    dice = random.Random(order.seed)
    targets = ["gpu"] * order.gpu_kills + ["server"] * order.server_kills
    dice.shuffle(targets)
    for number, target in enumerate(targets, start=1):
        delay = dice.uniform(0, order.spread)
        wait_for(lambda: clients.in_progress and server.children(), "a job in progress")
        time.sleep(delay)
        # It may have ended meanwhile, and this is about kills in the middle.
        id = sorted(wait_for(lambda: set(clients.in_progress), "a job in progress"))[0]
        if target == "gpu":
            os.kill(wait_for(server.children, "a GPU process")[0], signal.SIGKILL)
            verdict.gpu_kills += 1
        else:
            server.kill()
            verdict.server_kills += 1
            before = attempts_of(server, id)
            server.start()
            done = wait_for(lambda id=id: clients.results.get(id), f"the end of job {id}")
            verdict.adopted += bool(done) and attempts_of(server, id) == before
        print(f"\r{number} of {len(targets)} kills, {len(clients.keys)} jobs", end="", flush=True)
    print()


def attempts_of(server: Server, id: str) -> int:
    """Return how often the job has been started."""
    [[attempt]] = rows(server, "SELECT attempt FROM jobs WHERE id = ?", id)
    return int(attempt)


def rows(server: Server, query: str, *values: object) -> list[tuple[Any, ...]]:
    """Ask the database beside the server."""
    connection = sqlite3.connect(f"file:{server.data / 'jobs.db'}?mode=ro", uri=True, timeout=30)
    try:
        return connection.execute(query, values).fetchall()
    finally:
        connection.close()


def inspect(server: Server, clients: Clients, verdict: Verdict) -> None:
    """Compare what was acknowledged with what is there."""
    ids = list(clients.keys.values())
    verdict.acknowledged = len(ids)
    for id in ids:
        status = clients.ask(f"/queue/{APP}/requests/{id}/status")
        result = clients.ask(f"/queue/{APP}/requests/{id}")
        verdict.lost += status["status"] != "COMPLETED" or "error" in status
        verdict.doubled += result != clients.results.get(id)
        verdict.broken += not is_whole(server, result)
    table = rows(server, "SELECT id, state, attempt FROM jobs")
    verdict.attempts = sum(attempt for _, _, attempt in table)
    verdict.lost += len(set(ids) - {id for id, state, _ in table if state == "succeeded"})
    verdict.doubled += len(table) - len(set(ids)) + len(ids) - len(set(ids))


def is_whole(server: Server, result: dict[str, Any]) -> bool:
    """Fetch the video and compare it with the hash the server keeps of it."""
    if "video" not in result:
        return False
    with urllib.request.urlopen(result["video"]["url"], timeout=30) as answer:
        data = answer.read()
    token = result["video"]["url"].split("/")[-2]
    entry = json.loads((server.data / "files" / "index" / f"{token}.json").read_text())
    same = hashlib.sha256(data).hexdigest() == entry["sha256"]
    return same and len(data) == result["video"]["file_size"]


def leave(server: Server, verdict: Verdict) -> None:
    """Look for what a stopped server has left behind."""
    verdict.orphans = len(server.children())
    verdict.leftovers = len(list((server.data / "outputs").iterdir()))


def main() -> None:
    """Kill, look, print, write."""
    parser = argparse.ArgumentParser(description="Kills in the middle of jobs.")
    parser.add_argument("--gpu-kills", type=int, default=20)
    parser.add_argument("--server-kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    on = machine()
    order = Order(arguments.gpu_kills, arguments.server_kills, arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        verdict = run(order, Path(folder))
    for name, value in asdict(verdict).items():
        print(f"{name:16}{value:>10}")
    numbers = {"order": asdict(order), "verdict": asdict(verdict), "good": verdict.good}
    print(f"\n{record('chaos', on, numbers)}")
    sys.exit(not verdict.good)


if __name__ == "__main__":
    main()
