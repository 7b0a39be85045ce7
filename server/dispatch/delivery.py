"""From a file in `outputs/` to a finished job with a stored file."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

from server.dispatch.localising import endpoint_of, read_request, sources_of
from server.dispatch.slot import Done
from server.expansion import with_expansion
from server.jobs.model import Job, Outcome
from server.jobs.store import JobStore
from server.media.artifacts import Artifacts, WrongHash
from server.media.content_types import OUTPUT_TYPES
from server.output_style import request_of, write_sidecar
from server.policy import Policy
from server.reporting import succeeded
from server.schemas.common import File
from wan_local.errors import WanLocalError
from wan_local.plan import RecordSpec, VideoPlan

log = logging.getLogger(__name__)


class BadOutput(Exception):
    """The file that a slot reported is not there, or not whole."""


class Delivery:
    """The folder that GPU processes write to, and the way out of it.

    Args:
        jobs: Where results are recorded.
        artifacts: Where files are stored; on the same file system as *outputs*.
        outputs: The folder.
        policy: The operator's word on each plan.
        sidecars: Folder for a JSON about each file, if the operator wants them.
    """

    def __init__(
        self,
        jobs: JobStore,
        artifacts: Artifacts,
        outputs: Path,
        *,
        policy: Policy,
        sidecars: Path | None = None,
    ) -> None:
        self._jobs = jobs
        self._artifacts = artifacts
        self._outputs = outputs.absolute()
        self._policy = policy
        self._sidecars = sidecars

    def path(self, job: Job, plan: VideoPlan) -> Path:
        """Return where the slot should write what *plan* makes in *job*'s present attempt."""
        return self._outputs / f"{job.id}.{job.attempt}{plan.file_ending}"

    def plan(self, job: Job) -> VideoPlan:
        """Make the plan of *job* again, from what its client asked for.

        Raises:
            WanLocalError: If this release cannot carry it out any more.
        """
        endpoint, wire = read_request(job)
        plan = endpoint.plan(wire, job.request.seed, sources_of(job, endpoint.needs(wire)))
        if job.prepared is not None and (job.prepared.prompt or job.prepared.notes):
            # Tried, with or without success: the notes say which.
            plan = with_expansion(plan, job.prepared.prompt)
        record = RecordSpec(request=request_of(endpoint.id, wire))
        plan = replace(plan, preview_every=job.request.preview_every, record=record)
        return self._policy(plan)

    def store(self, job: Job, done: Done) -> tuple[Outcome, str]:
        """Store the file; return the outcome that points to it, and the file's token.

        The slot's file stays until `clear`: a server that dies before the outcome is recorded
        finds it there, and the slot that reported it.

        Raises:
            BadOutput: If the file is not what the slot says it is.
        """
        try:
            output = self.path(job, self.plan(job))
        except WanLocalError as error:
            # Adopted from a release that could plan it: the next attempt will say why this cannot.
            msg = f"job {job.id}, attempt {job.attempt}: {error}"
            raise BadOutput(msg) from error
        second = output.with_suffix(".taken")
        try:
            second.unlink(missing_ok=True)
            os.link(output, second)
            stored = self._artifacts.take(
                second,
                sha256=done.sha256,
                file_name=f"{job.id}{output.suffix}",
                content_type=OUTPUT_TYPES[output.suffix],
                ttl=job.request.output_ttl,
            )
        except (OSError, WrongHash) as error:
            msg = f"job {job.id}, attempt {job.attempt}: {error}"
            raise BadOutput(msg) from error
        self._write_sidecar(job, done)
        file = File(
            url=stored.path,
            content_type=stored.content_type,
            file_name=stored.file_name,
            file_size=stored.size_bytes,
        )
        return succeeded(endpoint_of(job).answer(file, done.finished)), stored.token

    def _write_sidecar(self, job: Job, done: Done) -> None:
        if self._sidecars is None:
            return
        path = self._sidecars / f"{job.id}.json"
        try:
            self._sidecars.mkdir(parents=True, exist_ok=True)
            write_sidecar(path, done.finished, sha256=done.sha256, size_bytes=done.size_bytes)
        except OSError as error:
            # The video is there, and making it again would not help.
            log.warning("job %s: its sidecar was not written: %s", job.id, error)

    def drop(self, token: str) -> None:
        """Drop a stored file whose job did not take it."""
        self._artifacts.drop(token)

    def clear(self, job: Job) -> None:
        """Remove what is left of *job*'s attempt."""
        for path in self._outputs.glob(f"{job.id}.{job.attempt}.*"):
            path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what no running attempt can still claim."""
        self._outputs.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = {f"{job.id}.{job.attempt}" for job in self._jobs.running()}
        for path in self._outputs.iterdir():
            if path.is_file() and ".".join(path.name.split(".")[:2]) not in kept:
                log.info("removing %s: no running job will ask for it", path.name)
                path.unlink()
