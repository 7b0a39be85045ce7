"""Prompts written out by a language model elsewhere, before their jobs take a slot.

What it wrote is stored with the job: a second attempt makes the same video.
"""

from __future__ import annotations

import time
from dataclasses import replace

from server.dispatch.localising import read_request
from server.dispatch.preparing import BadInput
from server.expansion import Expander, expansion_of
from server.jobs.model import Job, LogEntry, LogLevel, Prepared
from server.media.sources import restored_sources
from wan_local.errors import WanLocalError


class Expanding:
    """A step of preparing: has the prompt of a job written out, if its client asked for it."""

    def __init__(self, expander: Expander) -> None:
        self._expander = expander

    def __call__(self, job: Job, prepared: Prepared) -> Prepared:
        """Return *prepared* with the expansion, or with a line that says why there is none.

        Raises:
            BadInput: If this release cannot plan the job any more.
        """
        try:
            endpoint, wire = read_request(job)
            sources = restored_sources(prepared.sources, endpoint.needs(wire))
            plan = endpoint.plan(wire, job.request.seed, sources)
        except WanLocalError as error:
            raise BadInput(error, ("body",)) from error
        if not plan.prompt.expand:
            return prepared
        expanded = expansion_of(plan, self._expander)
        level: LogLevel = "INFO" if expanded.text is not None else "WARN"
        note = LogEntry(time.time(), level, expanded.remark)
        return replace(prepared, prompt=expanded.text, notes=(*prepared.notes, note))
