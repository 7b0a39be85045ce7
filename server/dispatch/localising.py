"""The files that a request names, brought here and looked at before a slot is taken."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import ValidationError

from server.dispatch.preparing import BadInput
from server.endpoints import Endpoint, find_endpoint
from server.jobs.model import Job, JobState, Prepared
from server.jobs.store import JobStore
from server.media.fetch import Fetcher
from server.media.finding import FindLora, find_source
from server.media.sources import Need, Source, Sources, restored_sources, stored_sources
from wan_local.errors import InvalidPlan, WanLocalError


class Localising:
    """A step of preparing: finds the file of every need of a job.

    Args:
        jobs: Asked whether a job is still wanted.
        fetcher: Brings the files.
        find_lora: Finds a LoRA.
        require_fit: Refuses a LoRA, found, that is not for the model of this id.
        max_bytes: What a picture or a video may have.
        stopping: Set when the server stops.
    """

    def __init__(
        self,
        jobs: JobStore,
        fetcher: Fetcher,
        find_lora: FindLora,
        require_fit: Callable[[Source, str], None],
        *,
        max_bytes: int,
        stopping: threading.Event,
    ) -> None:
        self._jobs = jobs
        self._fetcher = fetcher
        self._find_lora = find_lora
        self._require_fit = require_fit
        self._max_bytes = max_bytes
        self._stopping = stopping

    def __call__(self, job: Job, prepared: Prepared) -> Prepared:
        """Return *prepared* with the sources of *job*.

        Raises:
            BadInput: If one of them cannot be had, is not what it should be, or the plan that can
                be made with them is none.
            NotWanted: If the job was cancelled, or the server stops.
        """
        try:
            endpoint, wire = read_request(job)
            needs = endpoint.needs(wire)
            # A picture which is first and last frame is fetched once, for the first of the fields.
            once = {(need.url, need.kind): need for need in reversed(needs)}
            sources = {
                need.url: self._found(job, need, endpoint.model) for need in reversed(once.values())
            }
            endpoint.plan(wire, job.request.seed, sources)
        except WanLocalError as error:
            raise BadInput(error, ("body",)) from error
        return replace(prepared, sources=stored_sources(sources))

    def _found(self, job: Job, need: Need, model: str) -> Source:
        fetch = partial(
            self._fetcher.fetch,
            wanted=lambda: self._wants(job.id),
            with_tokens=need.kind == "lora",
        )
        try:
            source = find_source(need, fetch, self._find_lora, self._max_bytes)
            if need.kind == "lora":
                self._require_fit(source, model)
        except WanLocalError as error:
            raise BadInput(error, need.loc) from error
        return source

    def _wants(self, id: str) -> bool:
        return not self._stopping.is_set() and self._jobs.get(id).state is JobState.QUEUED


def endpoint_of(job: Job) -> Endpoint:
    """Return the endpoint of *job*.

    Raises:
        InvalidPlan: If this release has it no more.
    """
    endpoint = find_endpoint(job.request.endpoint)
    if endpoint is None:
        msg = f"there is no endpoint {job.request.endpoint} any more"
        raise InvalidPlan(msg)
    return endpoint


def read_request(job: Job) -> tuple[Endpoint, Any]:
    """Return the endpoint of *job*, and its input as that endpoint reads it.

    Raises:
        InvalidPlan: If this release has the endpoint no more, or reads it differently.
    """
    endpoint = endpoint_of(job)
    try:
        return endpoint, endpoint.input.model_validate(job.request.input)
    except ValidationError as error:
        msg = f"the input of {endpoint.id} is not accepted any more: {error.error_count()} errors"
        raise InvalidPlan(msg) from error


def sources_of(job: Job, needs: tuple[Need, ...]) -> Sources:
    """Return the sources that were found for *job*.

    Raises:
        InvalidPlan: If this release needs a file that the job was not prepared with.
    """
    try:
        return restored_sources(job.prepared.sources if job.prepared else {}, needs)
    except KeyError as error:
        msg = "the files of this request were not prepared: submit it again"
        raise InvalidPlan(msg) from error
