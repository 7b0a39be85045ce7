"""What has to be done for a job before a slot may have it, on threads of its own.

Files are fetched and looked at here (`localising.py`), and whatever else a request needs of the
network is done. To add a step, write a function of a job and what was found for it so far that
returns what is found now, and put it where `steps.py` lists them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from server.disk import is_full
from server.dispatch.turns import Turns
from server.jobs.model import Job, JobState, Outcome, Prepared
from server.jobs.store import JobStore, StoreUnavailable, UnknownJob
from server.media.fetch import NotWanted
from server.reporting import disk_full, input_refused, surprised
from wan_local.errors import WanLocalError

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Jobs that are prepared at the same time: mostly they wait for somebody else's server."""
EACH = 4
"""Of one owner, so that slow downloads hold up nobody else's jobs."""
STORE_PAUSE = 1.0
"""Seconds between two attempts to write to a store that cannot be written."""
DISK_PAUSES = tuple(min(60.0, 2.0**attempt) for attempt in range(14))
"""Seconds between two attempts at a step while the disk is full, nine minutes in all: what an
accepted job needs is not refused for what others have written. Not for ever: a file that is too
large for this disk fills it at each attempt."""
STOP_PATIENCE = 5.0
"""Seconds that steps have to notice that the server stops."""

Step = Callable[[Job, Prepared], Prepared]


class BadInput(Exception):
    """A step cannot be done for what the client sent.

    Args:
        error: What is wrong.
        loc: Where in the request, as fal points at it.
    """

    def __init__(self, error: WanLocalError, loc: tuple[str | int, ...]) -> None:
        super().__init__(str(error))
        self.error = error
        self.loc = loc


class Preparing:
    """Prepares the jobs of *jobs*, from `start` to `stop`, by *steps* in their order.

    A job that could not be prepared before a stop is prepared by the next server; one that was is
    not prepared again.

    Args:
        jobs: The queue.
        steps: What there is to do. Each may raise BadInput, or NotWanted once `wants` says no.
        stopping: Set when the server stops; the steps look at it as well.
    """

    def __init__(
        self, jobs: JobStore, steps: Sequence[Step], *, stopping: threading.Event | None = None
    ) -> None:
        self._jobs = jobs
        self._steps = steps
        self._stopping = stopping or threading.Event()
        self._turns = Turns(EACH)
        self._threads = [
            threading.Thread(target=self._work, name=f"preparing-{number}", daemon=True)
            for number in range(AT_ONCE)
        ]
        self._leave: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin, first with the jobs that an earlier server left."""
        self._leave = self._jobs.listen(self._notice)
        for job in self._jobs.unprepared():
            self._line_up(job)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Take up no more jobs and drop those under way; the next start prepares them."""
        self._leave()
        self._stopping.set()
        self._turns.close()
        deadline = time.monotonic() + STOP_PATIENCE
        for thread in self._threads:
            if thread.is_alive():  # none is, if there never was a start
                thread.join(max(0.0, deadline - time.monotonic()))

    def _notice(self, id: str) -> None:
        try:
            self._line_up(self._jobs.get(id))
        except (UnknownJob, StoreUnavailable):
            return

    def _line_up(self, job: Job) -> None:
        if job.state is JobState.QUEUED and job.prepared is None:
            self._turns.join(job)

    def _work(self) -> None:
        while (turn := self._turns.take()) is not None:
            owner, id = turn
            self._see_to(id)
            self._turns.end(owner, id)

    def _see_to(self, id: str) -> None:
        try:
            job = self._jobs.get(id)
            if job.state is not JobState.QUEUED:
                return
            found = self._prepared(job)
        except (NotWanted, UnknownJob):
            return
        except StoreUnavailable as error:
            log.warning("job %s is left to the next start: %s", id, error)
            return
        self._record(id, found)

    def _prepared(self, job: Job) -> Prepared | Outcome:
        """Return what was found for *job*, or the end that it comes to."""
        prepared = Prepared()
        try:
            for step in self._steps:
                prepared = self._take(step, job, prepared)
        except BadInput as bad:
            log.info("job %s cannot be prepared: %s", job.id, bad, extra={"job": job.id})
            return input_refused(bad.error, bad.loc)
        except (NotWanted, UnknownJob, StoreUnavailable):
            raise
        except Exception as error:
            # A surprise may cost one job, and not the thread that prepares all of them.
            log.exception("job %s cannot be prepared", job.id, extra={"job": job.id})
            return disk_full() if is_full(error) else surprised()
        return prepared

    def _take(self, step: Step, job: Job, prepared: Prepared) -> Prepared:
        """Take *step*, again and again while the disk is full; what was found before it is kept."""
        for pause in DISK_PAUSES:
            try:
                return step(job, prepared)
            except OSError as error:
                if not is_full(error):
                    raise
                log.warning("job %s waits for room on the disk", job.id, extra={"job": job.id})
            if self._stopping.wait(pause) or self._jobs.get(job.id).state is not JobState.QUEUED:
                raise NotWanted
        return step(job, prepared)

    def _record(self, id: str, found: Prepared | Outcome) -> None:
        """Write down what became of it, however often that takes: nobody else will."""
        while not self._stopping.is_set():
            try:
                if isinstance(found, Prepared):
                    self._jobs.prepare(id, found)
                else:
                    self._jobs.refuse(id, found)
            except StoreUnavailable as error:
                log.warning("trying again in %.0f s: %s", STORE_PAUSE, error)
                self._stopping.wait(STORE_PAUSE)
            else:
                return
