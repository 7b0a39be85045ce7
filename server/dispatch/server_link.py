"""The GPU process's side of the socket: one server at a time, who may go and come back.

It remembers what a new server has to be told: the running errand, or how the last one ended, with
its warnings and its latest progress. So a server that was killed adopts the work it left.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading
import time
from pathlib import Path

from server.dispatch.lines import Lines, listen
from server.dispatch.slot import (
    TO_SLOT,
    Alive,
    Cancel,
    Cancelled,
    Done,
    Errand,
    Failed,
    Hello,
    Run,
    Said,
)
from wan_local.events import Event, Warned

log = logging.getLogger(__name__)

HEARTBEAT = 1.0
"""Seconds between two signs of life."""
FIRST_PATIENCE = 30.0
"""Seconds the server that started us has to connect, at least."""
LAST_PATIENCE = 60.0
"""Seconds an engine may take to come to its next event once the process should end."""


class ServerLink:
    """Where servers connect: threads of its own listen and say `alive` while the main one works."""

    def __init__(self, path: Path, *, slot: str, grace: float) -> None:
        """Listen at *path*, but answer nobody before `open`.

        Args:
            path: Of the Unix socket.
            slot: Our name.
            grace: Seconds without a server after which the process ends.
        """
        self._path = path
        self._slot = slot
        self._grace = grace
        self._listener: socket.socket = listen(path)
        self._orders: queue.SimpleQueue[Run | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._server: Lines | None = None
        self._device = ""
        self._running: Errand | None = None
        self._ending: Done | Failed | Cancelled | None = None
        self._errand: Errand | None = None
        self._said: list[Event] = []
        self._last_event = 0.0
        self._unwanted: Errand | None = None
        self._quitting = False
        self._closed = threading.Event()

    def open(self, device: str) -> None:
        """Greet servers from now on; *device* is the GPU's name or `cpu`."""
        self._device = device
        threading.Thread(target=self._receive_servers, name="link", daemon=True).start()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def next_order(self) -> Run | None:
        """Wait for something to do; None when the process should end."""
        order = self._orders.get()
        return None if self._quitting else order

    def begin(self, errand: Errand) -> None:
        """Note that *errand* is running."""
        with self._lock:
            self._running = self._errand = errand
            self._ending = None
            self._said = []
            self._last_event = time.monotonic()

    def say(self, event: Event) -> None:
        """Report *event* of the running errand, now and to a server that comes later."""
        with self._lock:
            kept = [old for old in self._said if isinstance(old, Warned) or old.kind != event.kind]
            self._said = [*kept, event]
            self._last_event = time.monotonic()
            if self._running is not None:
                self._send(Said(errand=self._running, event=event))

    def end(self, ending: Done | Failed | Cancelled) -> None:
        """Report how the running errand ended, now and to a server that comes later."""
        with self._lock:
            self._running, self._ending = None, ending
            self._send(ending)

    def dropped(self, errand: Errand) -> bool:
        """Return whether *errand* should be given up."""
        return self._quitting or self._unwanted == errand

    def quit(self) -> None:
        """End the process once the engine comes to its next event; safe in a signal handler."""
        self._quitting = True
        self._orders.put(None)

    def close(self) -> None:
        """Take the socket away, so that nobody finds a process that is ending."""
        self._closed.set()
        self._path.unlink(missing_ok=True)
        self._listener.close()
        with self._lock:
            if self._server is not None:
                self._server.close()
                self._server = None

    @property
    def abandoned_output(self) -> Done | None:
        """The video that no server came to fetch, if that is how the last errand ended."""
        return self._ending if self._server is None and isinstance(self._ending, Done) else None

    def _receive_servers(self) -> None:
        patience = max(self._grace, FIRST_PATIENCE)
        while not self._quitting:
            try:
                self._listener.settimeout(patience)
                connection, _ = self._listener.accept()
            except TimeoutError:
                log.warning("no server for %.0f s: ending", patience)
                break
            except OSError:
                # The main thread has closed the link.
                return
            connection.settimeout(None)
            self._attend(Lines(connection))
            patience = max(self._grace, HEARTBEAT)
        self.quit()
        if not self._closed.wait(LAST_PATIENCE):
            # An engine that never comes to its next event must not outlive everybody.
            log.error("the engine did not stop in %.0f s", LAST_PATIENCE)
            os._exit(1)

    def _attend(self, server: Lines) -> None:
        with self._lock:
            self._server = server
            self._greet()
        try:
            while not self._quitting and (line := server.receive()) is not None:
                self._obey(line)
        except ValueError:
            log.exception("an order that cannot be read: hanging up")
        finally:
            if not self._quitting:
                self._hang_up(server)

    def _greet(self) -> None:
        hello = Hello(
            slot=self._slot,
            pid=os.getpid(),
            device=self._device,
            running=self._running,
            ending=self._ending,
        )
        self._send(hello)
        if self._errand is not None:
            for event in self._said:
                self._send(Said(errand=self._errand, event=event))
        if self._ending is not None:
            # Again, after what was said before it: to the server it is as if it were never away.
            self._send(self._ending)

    def _obey(self, line: bytes) -> None:
        match TO_SLOT.validate_json(line):
            case Run() as order:
                self._orders.put(order)
            case Cancel(errand=errand):
                self._unwanted = errand
            case _:
                self.quit()

    def _hang_up(self, server: Lines) -> None:
        with self._lock:
            if self._server is server:
                self._server = None
        server.close()

    def _send(self, message: Hello | Alive | Said | Done | Failed | Cancelled) -> None:
        if self._server is None:
            return
        try:
            self._server.send(message)
        except OSError:
            # The receiving thread sees the end too and goes back to the link.
            self._server.close()
            self._server = None

    def _beat(self) -> None:
        while not self._closed.wait(HEARTBEAT):
            with self._lock:
                idle = time.monotonic() - self._last_event if self._running is not None else 0.0
                self._send(Alive(idle_seconds=idle))
