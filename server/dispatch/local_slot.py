"""A slot on this machine: a child process, found or started, watched, and killed if need be."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import NoReturn

from server.dispatch.lines import Lines, connect
from server.dispatch.slot import (
    FROM_SLOT,
    Alive,
    Cancel,
    Cancelled,
    Done,
    Failed,
    Hello,
    Lost,
    Quit,
    Run,
    Said,
)
from server.settings import Settings, child_environment

log = logging.getLogger(__name__)

KNOCK = 0.1
"""Seconds between two attempts to connect to a child that has just been started."""
SLOWEST = 10
"""An engine is hung after so many times its longest silence, if `step_patience` is less."""
LAST_BREATH = 2.0
"""Seconds a child that has hung up has to end by itself, so that its exit code can be told."""
DEVICES_TIMEOUT = 120.0
"""Seconds that asking for the GPUs may take; importing torch from a cold disk is most of it."""


class LocalSlot:
    """One GPU of this machine, or its CPU. Implements `slot.Slot`."""

    def __init__(self, name: str, device: str, settings: Settings) -> None:
        """Describe the slot; nothing is started yet.

        Args:
            name: Such as `gpu0`; also of the socket and the log in `data_dir/slots`.
            device: As torch names it: `cpu`, `cuda:0`.
            settings: Where things are, and how patient to be.
        """
        self.name = name
        self.device = device
        self._settings = settings
        self._folder = settings.data_dir / "slots"
        self._socket = self._folder / f"{name}.sock"
        self._lock = threading.Lock()
        self._lines: Lines | None = None
        self._process: _Process | None = None
        self._heard = 0.0
        self._longest = 0.0

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is a child."""
        process = self._process
        return process.pid if process is not None else None

    @property
    def log_path(self) -> Path:
        """Where the child's stdout and stderr go."""
        return self._folder / f"{self.name}.log"

    def start(self) -> Hello:
        """Return the hello of the child that outlived the last server, or of a new one.

        Raises:
            Lost: If a new one does not come up.
        """
        self.kill()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        hello = self._adopt()
        if hello is None:
            hello = self._start()
        self._heard, self._longest = time.monotonic(), 0.0
        return hello

    def send(self, message: Run | Cancel | Quit) -> None:
        """Send one message; that the child is gone is for `receive` to say."""
        if isinstance(message, Run):
            self._heard, self._longest = time.monotonic(), 0.0
        lines = self._lines
        if lines is None:
            return
        try:
            lines.send(message)
        except OSError:
            lines.close()

    def receive(self) -> Alive | Said | Done | Failed | Cancelled:
        """Wait for the next message.

        Raises:
            Lost: If the child ended, was silent, or its engine was; it is gone by then.
        """
        silence = self._settings.silence
        line = self._next_line(silence, f"was silent for {silence:.0f} s")
        try:
            message = FROM_SLOT.validate_json(line)
        except ValueError:
            self._give_up("spoke gibberish")
        if isinstance(message, Alive):
            self._watch_engine(message)
        elif isinstance(message, Said):
            now = time.monotonic()
            self._heard, self._longest = now, max(self._longest, now - self._heard)
        elif isinstance(message, Hello):
            self._give_up("said hello twice")
        return message

    def kill(self) -> None:
        """Kill the child and all it started, and wait until it is gone."""
        with self._lock:
            lines, process = self._lines, self._process
            self._lines = self._process = None
            if process is not None:
                process.kill()
            if lines is not None:
                lines.close()

    def _adopt(self) -> Hello | None:
        """Return the hello of a child that is already there and just what we would start."""
        try:
            lines = connect(self._socket)
        except OSError:
            return None
        try:
            process = _Process(lines.peer_pid())
        except OSError:
            # It listened, and is gone already.
            lines.close()
            return None
        self._lines, self._process = lines, process
        if process.arguments()[1:] != self._command()[1:]:
            log.info("slot %s: a process of other settings is there; ending it", self.name)
            self.kill()
            return None
        try:
            hello = self._hello(self._settings.silence)
        except Lost:
            # Hung, or ending just now: a new one takes its place.
            return None
        log.info("slot %s: adopted process %d", self.name, hello.pid)
        return hello

    def _start(self) -> Hello:
        if self.log_path.exists():
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
        # A session of its own: Ctrl-C in the terminal is for the server, which lets the job end.
        # No PR_SET_PDEATHSIG: the child must outlive a server that is killed, to be adopted.
        with self.log_path.open("ab") as output:
            child = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=child_environment(),
            )
        self._process = _Process(child.pid, child)
        deadline = time.monotonic() + self._settings.startup_patience
        self._lines = self._knock(child, deadline)
        hello = self._hello(deadline - time.monotonic())
        log.info("slot %s: process %d runs on %s", self.name, hello.pid, hello.device)
        return hello

    def _knock(self, child: subprocess.Popen[bytes], deadline: float) -> Lines:
        while True:
            try:
                return connect(self._socket)
            except OSError:
                if child.poll() is not None or time.monotonic() > deadline:
                    self._give_up("did not open its socket")
            time.sleep(KNOCK)

    def _hello(self, patience: float) -> Hello:
        line = self._next_line(patience, f"did not say hello within {patience:.0f} s")
        try:
            message = FROM_SLOT.validate_json(line)
        except ValueError:
            self._give_up("said something else than hello")
        if not isinstance(message, Hello):
            self._give_up("said something else than hello")
        return message

    def _next_line(self, patience: float, complaint: str) -> bytes:
        lines = self._lines
        if lines is None:
            msg = f"slot {self.name} has no process"
            raise Lost(msg)
        try:
            line = lines.receive(patience)
        except TimeoutError:
            self._give_up(complaint)
        if line is None:
            process = self._process
            if process is not None:
                process.wait(LAST_BREATH)
            self._give_up("ended")
        return line

    def _watch_engine(self, alive: Alive) -> None:
        # The heartbeat has a thread of its own and goes on while a kernel hangs.
        limit = max(self._settings.step_patience, SLOWEST * self._longest)
        if alive.idle_seconds > limit:
            self._give_up(f"had an engine that said nothing for {alive.idle_seconds:.0f} s")

    def _give_up(self, what: str) -> NoReturn:
        """Make sure that the child is gone, and say why."""
        process = self._process
        self.kill()
        end = f", {process.end}" if process is not None and process.end else ""
        msg = f"the process of slot {self.name} {what}{end}; see {self.log_path}"
        raise Lost(msg)

    def _command(self) -> list[str]:
        settings = self._settings
        return [
            sys.executable,
            "-m",
            "server.dispatch.gpu_process",
            "--socket",
            str(self._socket),
            "--name",
            self.name,
            "--device",
            self.device,
            "--weights",
            str(settings.weights_dir),
            "--quantization",
            settings.quantization,
            "--grace",
            str(settings.adoption_grace),
            "--engine",
            settings.engine,
        ]


class _Process:
    """A process that we started, or found."""

    def __init__(self, pid: int, child: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self.end = ""
        """How it ended, in words, as far as one can know it."""
        self._child = child
        # A file descriptor of the process itself: its number may be given to another one day.
        self._handle = os.pidfd_open(pid)
        # Not in kill(): another thread may be waiting on it just then.
        weakref.finalize(self, os.close, self._handle)

    def arguments(self) -> list[str]:
        """Return its command line; empty once it has ended."""
        try:
            raw = Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except FileNotFoundError:
            return []
        return [os.fsdecode(part) for part in raw.split(b"\0")[:-1]]

    def wait(self, patience: float) -> None:
        """Wait until it has ended, but no longer than *patience* seconds."""
        select.select([self._handle], [], [], patience)

    def kill(self) -> None:
        """Kill its group, ffmpeg included, and wait until it is gone."""
        if self._is_there():
            os.killpg(self.pid, signal.SIGKILL)
        if self._child is not None:
            code = self._child.wait()
            self.end = f"killed by signal {-code}" if code < 0 else f"with exit code {code}"
        else:
            select.select([self._handle], [], [])

    def _is_there(self) -> bool:
        if self._child is not None:
            # Until we have waited for it, its number and its group's are nobody else's.
            return self._child.returncode is None
        ended, _, _ = select.select([self._handle], [], [], 0)
        return not ended


def local_slots(settings: Settings) -> list[LocalSlot]:
    """Return a slot for each GPU, or the CPU's, as `settings.device` says.

    Empty if a GPU is asked for and there is none. torch is asked in a process of its own, so that
    this one never loads it.
    """
    gpus = [] if settings.device == "cpu" else _gpus()
    if not gpus and settings.device != "cuda":
        return [LocalSlot("cpu0", "cpu", settings)]
    return [LocalSlot(f"gpu{number}", device, settings) for number, device in enumerate(gpus)]


def _gpus() -> list[str]:
    asked = subprocess.run(
        [sys.executable, "-m", "wan_local.models.devices"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=DEVICES_TIMEOUT,
        check=True,
        env=child_environment(),
    )
    return [gpu["device"] for gpu in json.loads(asked.stdout)]
