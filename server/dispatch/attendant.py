"""The attendant of one slot: claims a job, hands it over, writes down what becomes of it.

One thread decides; a second one does nothing but listen to the slot. Everything that can happen
(a message, a lost slot, a change in the queue) arrives in one mailbox, so there is one order of
events and nothing to lock.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from server.dispatch.delivery import BadOutput, Delivery
from server.dispatch.narration import Narrator
from server.dispatch.slot import (
    Alive,
    Cancel,
    Cancelled,
    Done,
    Errand,
    Failed,
    Hello,
    Lost,
    Quit,
    Run,
    Said,
    Slot,
)
from server.jobs.model import Job, JobState, LogLevel, Preview
from server.jobs.store import JobStore, StoreUnavailable, UnknownJob
from server.reporting import engine_failed
from wan_local.errors import WanLocalError
from wan_local.events import Event, Previewed
from wan_local.plan import VideoPlan

T = TypeVar("T")

log = logging.getLogger(__name__)

CANCEL_PATIENCE = 10.0
"""Seconds an engine has to drop a plan before its process is killed."""
QUIT_PATIENCE = 10.0
"""Seconds a process has to end by itself before it is killed."""
STORE_PAUSE = 1.0
"""Seconds between two attempts to write to a store that cannot be written."""
LONGEST_PAUSE = 60.0
"""Seconds between two starts of a slot that does not come up, at most."""


@dataclass(slots=True)
class _Current:
    """The errand the slot is on."""

    job: Job
    narrator: Narrator = field(default_factory=Narrator)
    cancel_sent: float | None = None
    """When, on the monotonic clock."""

    @property
    def errand(self) -> Errand:
        return Errand(job=self.job.id, attempt=self.job.attempt)


class Attendant:
    """Serves one slot from `start` to `stop`."""

    def __init__(self, slot: Slot, jobs: JobStore, delivery: Delivery) -> None:
        self._slot = slot
        self._jobs = jobs
        self._delivery = delivery
        self._mailbox: queue.SimpleQueue[Alive | Said | Done | Failed | Cancelled | Lost | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(
            target=self._serve, name=f"{slot.name}-attendant", daemon=True
        )
        self._stopping = threading.Event()
        self._drained_at = float("inf")
        self._current: _Current | None = None
        self._holds: frozenset[str] = frozenset()
        self._state = "starting"
        self._hello: Hello | None = None
        self._problem = ""

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def wake(self, job: Job) -> None:
        """Look up: *job* has changed. Quick, and safe from any thread."""
        current = self._current
        if current is None:
            if job.state is JobState.QUEUED:
                self._mailbox.put(None)
        elif job.id == current.job.id and job.cancel_requested:
            self._mailbox.put(None)

    def stop(self, drain_timeout: float) -> None:
        """Claim nothing more; let the running job go on for *drain_timeout* seconds at most."""
        self._drained_at = time.monotonic() + drain_timeout
        self._stopping.set()
        self._mailbox.put(None)

    def join(self) -> None:
        """Wait until the slot's process has ended."""
        while self._thread.is_alive():
            if self._state == "starting":
                # It may take minutes to say hello, and nobody waits for that any more.
                self._slot.kill()
            self._thread.join(1.0)

    def describe(self) -> dict[str, Any]:
        """Return how the slot is doing, for the operator."""
        current, hello = self._current, self._hello
        return {
            "name": self._slot.name,
            "device": hello.device if hello else None,
            "pid": hello.pid if hello else None,
            "state": self._state,
            "job": current.job.id if current else None,
            "problem": self._problem,
        }

    # ── the life of the slot ─────────────────────────────────────────────────────────────────────

    def _serve(self) -> None:
        losses = 0
        while not self._stopping.is_set():
            try:
                self._attend()
            except Lost as lost:
                log.warning("%s", lost)
                self._problem = str(lost)
            except Exception:
                # A surprise may cost one job, and not the GPU's service.
                log.exception("slot %s: starting over", self._slot.name)
                self._problem = "an internal error; the server's log has it"
            losses = 0 if self._forsake() else losses + 1
            if losses:
                # A slot that dies without having had a job would otherwise be restarted in a spin.
                self._stopping.wait(min(LONGEST_PAUSE, 2.0 ** (losses - 1)))
        self._state = "stopped"

    def _attend(self) -> None:
        self._state = "starting"
        self._hello = self._slot.start()
        listener = threading.Thread(target=self._listen, name=f"{self._slot.name}-listener")
        listener.start()
        try:
            self._adopt(self._hello)
            self._problem = ""
            while self._current is not None or not self._stopping.is_set():
                self._step()
            self._slot.send(Quit())
            listener.join(QUIT_PATIENCE)
        finally:
            self._slot.kill()
            listener.join()

    def _listen(self) -> None:
        while True:
            try:
                self._mailbox.put(self._slot.receive())
            except Lost as lost:
                self._mailbox.put(lost)
                return

    def _forsake(self) -> bool:
        """Let go of a process that is gone; return whether it had a job."""
        self._state, self._hello, self._holds = "down", None, frozenset()
        self._mailbox = queue.SimpleQueue()
        current, self._current = self._current, None
        try:
            if current is not None:
                # Killed because it did not drop the job when told to: that is not a crash.
                self._give_back(current.job, crashed=current.cancel_sent is None)
            for job in self._own_jobs():
                self._give_back(job, crashed=False)
        except StoreUnavailable as error:
            log.warning("a job of slot %s is left to the next start: %s", self._slot.name, error)
        return current is not None

    def _adopt(self, hello: Hello) -> None:
        """Take up what the process was doing for the last server; put the rest back."""
        told = hello.running or (hello.ending.errand if hello.ending else None)
        for job in self._own_jobs():
            if told == Errand(job=job.id, attempt=job.attempt):
                log.info("job %s: attempt %d goes on", job.id, job.attempt)
                self._take_on(job)
                self._narrate(job, f"a restarted server took attempt {job.attempt} over")
            else:
                self._give_back(job, crashed=False)
        if hello.running is not None and self._current is None:
            self._slot.send(Cancel(errand=hello.running))

    def _own_jobs(self) -> list[Job]:
        return [job for job in self._jobs.running() if job.slot == self._slot.name]

    # ── one step of it ───────────────────────────────────────────────────────────────────────────

    def _step(self) -> None:
        if self._current is None:
            self._state = "idle"
            self._hand_over()
        message = self._next_message()
        if isinstance(message, Lost):
            raise message
        current = self._current
        if current is None:
            return
        if isinstance(message, Done | Failed | Cancelled) and message.errand == current.errand:
            self._conclude(current, message)
            return
        if isinstance(message, Said) and message.errand == current.errand:
            self._note(current, message.event)
        self._see_to_cancel(current)

    def _note(self, current: _Current, event: Event) -> None:
        job = current.job
        if isinstance(event, Previewed):
            self._jobs.show(job.id, job.attempt, Preview(event.step, b64decode(event.jpeg)))
        entry = current.narrator.line(event)
        if entry is not None:
            self._jobs.log(job.id, job.attempt, entry)

    def _next_message(self) -> Alive | Said | Done | Failed | Cancelled | Lost | None:
        if self._current is None:
            return self._mailbox.get()
        try:
            # A frozen process says nothing that would wake us when our patience with it is over.
            return self._mailbox.get(timeout=1.0)
        except queue.Empty:
            return None

    def _hand_over(self) -> None:
        """Give the slot the next job, if there is one."""
        while not self._stopping.is_set():
            try:
                job = self._jobs.claim(self._slot.name, self._holds)
            except StoreUnavailable as error:
                # Asked again at the slot's next sign of life.
                log.warning("no job can be claimed: %s", error)
                return
            if job is None:
                return
            self._take_on(job)
            plan = self._plan(job)
            if plan is not None:
                self._hand_on_notes(job)
                self._narrate(job, f"started on {self._slot.name}, attempt {job.attempt}")
                output = str(self._delivery.path(job, plan))
                errand = Errand(job=job.id, attempt=job.attempt)
                self._slot.send(Run(errand=errand, plan=plan, output=output))
                return

    def _hand_on_notes(self, job: Job) -> None:
        """Begin the log of a job with what was found out while it was prepared."""
        if job.prepared is not None and not job.log:
            for note in job.prepared.notes:
                self._jobs.log(job.id, job.attempt, note)

    def _plan(self, job: Job) -> VideoPlan | None:
        try:
            return self._delivery.plan(job)
        except WanLocalError as error:
            outcome = engine_failed(type(error).__name__, str(error))
        self._insist(lambda: self._jobs.finish(job.id, job.attempt, outcome))
        self._current = None
        return None

    def _take_on(self, job: Job) -> None:
        self._current = _Current(job)
        self._holds = frozenset({job.request.affinity})
        self._state = "busy"

    # ── the end of a job ─────────────────────────────────────────────────────────────────────────

    def _conclude(self, current: _Current, ending: Done | Failed | Cancelled) -> None:
        job = current.job
        match ending:
            case Done():
                self._deliver(current, ending)
            case Failed(error=error, message=message, part=part):
                self._narrate(job, message, "ERROR")
                outcome = engine_failed(error, message, part=part, input=job.request.input)
                self._insist(lambda: self._jobs.finish(job.id, job.attempt, outcome))
                self._delivery.clear(job)
            case Cancelled():
                self._give_back(job, crashed=False)
        self._current = None

    def _deliver(self, current: _Current, done: Done) -> None:
        job = current.job
        try:
            outcome, token = self._delivery.store(job, done)
        except BadOutput as error:
            log.warning("%s", error)
            self._give_back(job, crashed=True)
            return
        taken = False
        try:
            taken = self._insist(lambda: self._jobs.finish(job.id, job.attempt, outcome))
        finally:
            if not taken:
                self._delivery.drop(token)
        self._delivery.clear(job)

    def _give_back(self, job: Job, *, crashed: bool) -> None:
        if crashed:
            self._narrate(job, f"attempt {job.attempt} was lost with its GPU process", "WARN")
        after = self._insist(lambda: self._jobs.release(job.id, job.attempt, crashed=crashed))
        self._delivery.clear(job)
        if after is not None:
            log.warning("job %s: attempt %d ended; now %s", job.id, job.attempt, after.state)

    def _see_to_cancel(self, current: _Current) -> None:
        if not self._unwanted(current.job):
            return
        now = time.monotonic()
        if current.cancel_sent is None:
            current.cancel_sent = now
            self._slot.send(Cancel(errand=current.errand))
        elif now - current.cancel_sent > CANCEL_PATIENCE:
            log.warning("job %s: does not stop; killing its process", current.job.id)
            self._slot.kill()

    def _unwanted(self, job: Job) -> bool:
        """Return whether the slot should drop *job*: its client, or the end of the server."""
        if time.monotonic() > self._drained_at:
            return True
        try:
            return self._jobs.get(job.id).cancel_requested
        except UnknownJob:
            return True

    def _narrate(self, job: Job, message: str, level: LogLevel = "INFO") -> None:
        self._jobs.log(job.id, job.attempt, Narrator().say(message, level))

    def _insist(self, write: Callable[[], T]) -> T:
        """Write to the store, however often it takes; a result must not be lost to a full disk.

        Raises:
            StoreUnavailable: If the server is to stop and has waited long enough.
        """
        while True:
            try:
                return write()
            except StoreUnavailable as error:
                if time.monotonic() > self._drained_at + QUIT_PATIENCE:
                    raise
                log.warning("trying again in %.0f s: %s", STORE_PAUSE, error)
                time.sleep(STORE_PAUSE)
