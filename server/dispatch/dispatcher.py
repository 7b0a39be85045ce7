"""The dispatcher: brings waiting jobs and slots together.

Which job comes next is the store's decision, made when a slot asks for one; each slot has an
attendant that asks.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from server.dispatch.attendant import Attendant
from server.dispatch.delivery import Delivery
from server.dispatch.slot import Slot
from server.jobs.store import JobStore, StoreUnavailable, UnknownJob
from server.media.artifacts import Artifacts
from server.policy import Policy

log = logging.getLogger(__name__)

DEADLINE_CHECK = 1.0
"""Seconds between two looks for jobs that should have started by now."""


class Dispatcher:
    """Runs the jobs of *jobs* on *slots*, from `start` to `stop`.

    Args:
        jobs: The queue.
        artifacts: Where finished videos are stored.
        slots: The GPUs.
        outputs: Folder the GPU processes write to; on the artifacts' file system.
        policy: The operator's word on each plan.
        sidecars: Folder for a JSON about each file, if the operator wants them.
    """

    def __init__(
        self,
        jobs: JobStore,
        artifacts: Artifacts,
        slots: Sequence[Slot],
        *,
        outputs: Path,
        policy: Policy,
        sidecars: Path | None = None,
    ) -> None:
        self._jobs = jobs
        self._delivery = Delivery(jobs, artifacts, outputs, policy=policy, sidecars=sidecars)
        self._slots = {slot.name for slot in slots}
        self._attendants = [Attendant(slot, jobs, self._delivery) for slot in slots]
        self._stopping = threading.Event()
        self._timer = threading.Thread(target=self._watch_deadlines, name="deadlines", daemon=True)
        self._leave = jobs.listen(self._wake)

    def start(self) -> None:
        """Start the slots, or find the processes that outlived the last server."""
        self._delivery.sweep()
        for job in self._jobs.running():
            if job.slot not in self._slots:
                # Its GPU is not there any more, or is not ours to use.
                self._jobs.release(job.id, job.attempt, crashed=False)
        for attendant in self._attendants:
            attendant.start()
        self._timer.start()

    def stop(self, drain_timeout: float) -> None:
        """Let running jobs end, up to *drain_timeout* seconds; put the rest back; end the slots."""
        self._stopping.set()
        for attendant in self._attendants:
            attendant.stop(drain_timeout)
        for attendant in self._attendants:
            attendant.join()
        self._timer.join()
        self._leave()

    def describe(self) -> list[dict[str, Any]]:
        """Return name, device, pid, state, job and problem of every slot."""
        return [attendant.describe() for attendant in self._attendants]

    def _wake(self, id: str) -> None:
        try:
            job = self._jobs.get(id)
        except (UnknownJob, StoreUnavailable):
            return
        for attendant in self._attendants:
            attendant.wake(job)

    def _watch_deadlines(self) -> None:
        while not self._stopping.wait(DEADLINE_CHECK):
            try:
                for job in self._jobs.expire():
                    log.info("job %s did not start before its deadline", job.id)
            except StoreUnavailable as error:
                log.warning("start deadlines cannot be kept: %s", error)
