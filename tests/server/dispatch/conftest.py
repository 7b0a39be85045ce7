"""A data directory, and the queue and the slots on it."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from server.dispatch.dispatcher import Dispatcher
from server.dispatch.local_slot import LocalSlot
from server.jobs.model import NewJob
from server.jobs.store import JobStore
from server.media.artifacts import Artifacts
from server.policy import under_policy
from server.settings import Settings

FAKE = "tests.server.dispatch.fake_engine:open_engine"
PATIENCE = 30.0


def wait_until(happens, patience=PATIENCE):
    """Wait until *happens()* is true and return what it was; fail after *patience* seconds."""
    deadline = time.monotonic() + patience
    while True:
        value = happens()
        if value:
            return value
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


class House:
    """A queue, its files and its slots, as one server has them."""

    def __init__(self, settings: Settings, slots: int = 1) -> None:
        data = settings.data_dir
        self.settings = settings
        self.data = data
        self.jobs = JobStore(data / "jobs.db", max_attempts=settings.max_attempts)
        self.artifacts = Artifacts(data / "files")
        self.slots = [LocalSlot(f"cpu{number}", "cpu", settings) for number in range(slots)]
        self.dispatcher = Dispatcher(
            self.jobs,
            self.artifacts,
            self.slots,
            outputs=data / "outputs",
            policy=partial(under_policy, settings=settings),
        )

    def submit(self, prompt: str, **changes: object) -> str:
        request = {
            "endpoint": "fal-ai/wan/v2.2-a14b/text-to-video",
            "input": {"prompt": prompt},
            "seed": 3,
        }
        return self.jobs.submit(NewJob(**request | changes)).id

    def ended(self, id: str):
        """Wait for the job's end and return it."""
        wait_until(lambda: self.jobs.get(id).state.is_final)
        return self.jobs.get(id)

    def said(self, id: str, words: str):
        """Wait until the job's log has a line with *words*."""
        wait_until(lambda: any(words in line for line in self.log(id)))

    def log(self, id: str) -> list[str]:
        return [line.message for line in self.jobs.get(id).log]

    def video(self, job) -> bytes:
        token = job.outcome.body["video"]["url"].split("/")[3]
        return self.artifacts.blob(self.artifacts.find(token)).read_bytes()

    def is_tidy(self) -> bool:
        """Whether nothing lies in the folder for videos; it is cleared after the outcome is out."""
        return not list((self.data / "outputs").iterdir())

    def executions(self, id: str) -> int:
        """Return how many attempts of the job an engine has begun."""
        notes = self.data / "executions"
        return sum(line.startswith(id) for line in notes.read_text().splitlines())

    def pid(self) -> int:
        """Return the process of the first slot, once it is up."""
        return wait_until(lambda: self.dispatcher.describe()[0]["pid"])

    def kill_child(self) -> None:
        os.kill(self.pid(), signal.SIGKILL)

    def close(self, drain: float = 0.0) -> None:
        self.dispatcher.stop(drain)
        self.jobs.close()


@pytest.fixture
def settings(tmp_path):
    return Settings(
        data_dir=tmp_path / "data",
        weights_dir=tmp_path / "weights",
        device="cpu",
        engine=FAKE,
        adoption_grace=20.0,
        startup_patience=30.0,
    )


@pytest.fixture
def open_house(settings):
    """Open a house and start it; what is still open in the end is closed."""
    open_houses = []

    def open_one(slots: int = 1, *, start: bool = True, **changes: object) -> House:
        settings.data_dir.mkdir(exist_ok=True)
        house = House(settings.model_copy(update=changes), slots)
        if start:
            house.dispatcher.start()
            open_houses.append(house)
        return house

    yield open_one
    for house in open_houses:
        house.close()


@pytest.fixture
def house(open_house):
    return open_house()


def freeze(pid: int) -> None:
    """Stop the process, and wait until the last of its threads stands still."""
    os.kill(pid, signal.SIGSTOP)
    tasks = Path(f"/proc/{pid}/task")
    wait_until(
        lambda: all(
            (task / "stat").read_text().rpartition(")")[2].split()[0] == "T"
            for task in tasks.iterdir()
        )
    )


def processes_of(folder: Path) -> list[int]:
    """Return the GPU processes whose command line names *folder*."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"gpu_process" in command and os.fsencode(folder) in command:
                found.append(int(entry.name))
    return found
