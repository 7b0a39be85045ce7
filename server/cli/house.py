"""The parts of a running server, opened together, started and stopped in order."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from server.app import create_app
from server.dispatch.dispatcher import Dispatcher
from server.dispatch.local_slot import local_slots
from server.dispatch.preparing import Preparing
from server.dispatch.steps import open_preparing
from server.jobs.model import Job
from server.media.addresses import AddressPolicy
from server.policy import under_policy
from server.services import Services, open_services
from server.settings import Settings
from server.webhooks import Webhooks

log = logging.getLogger(__name__)

TIDY_EVERY = 600.0
"""Seconds between two looks for expired files and jobs past their retention."""
STORED_FILE = re.compile(r"/cdn/files/([^/]+)/")


class NoSlots(Exception):
    """No device to run on."""


@dataclass(frozen=True, slots=True)
class House:
    """A server that is ready to be listened for."""

    services: Services
    dispatcher: Dispatcher
    preparing: Preparing
    webhooks: Webhooks
    app: Any
    """The ASGI application."""
    _closing: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Start the GPU processes and the outbox; work left by an earlier run goes on."""
        self.dispatcher.start()
        self.preparing.start()
        self.webhooks.start()
        threading.Thread(target=self._keep_tidy, name="tidy", daemon=True).start()

    def drain(self) -> None:
        """Start no more jobs and wait for the running ones, as long as the settings allow.

        Jobs that are still running then go back into the queue, for the next start.
        """
        patience = self.services.settings.drain_timeout
        log.info("stopping: running jobs have %.0f s, waiting ones are kept", patience)
        self.preparing.stop()
        self.dispatcher.stop(patience)

    def close(self) -> None:
        """Let go of everything."""
        self._closing.set()
        self.webhooks.stop()
        self.services.close()

    def _keep_tidy(self) -> None:
        while True:
            try:
                tidy(self.services, time.time())
            except Exception:
                # A full disk, say. The next look may succeed, and requests go on meanwhile.
                log.exception("old jobs and files could not be cleared away")
            if self._closing.wait(TIDY_EVERY):
                return


def open_house(settings: Settings) -> House:
    """Open the data directory and wire the halves together; nothing runs yet.

    Raises:
        DataInUse: If another server has the directory.
        BadDatabase: If its database cannot be used.
        NoSlots: If there is no device to run on.
        BadRule: If a setting cannot be read.
    """
    slots = local_slots(settings)
    if not slots:
        msg = "there is no CUDA device here; --device cpu runs on the CPU"
        raise NoSlots(msg)
    services = open_services(settings)
    try:
        dispatcher = Dispatcher(
            services.jobs,
            services.artifacts,
            slots,
            outputs=settings.data_dir / "outputs",
            policy=partial(under_policy, settings=settings),
            sidecars=settings.sidecar_dir,
        )
        preparing = open_preparing(services)
        webhooks = Webhooks(
            services.jobs, services.signer, AddressPolicy(loopback=settings.on_loopback)
        )
        app = create_app(services, slots=dispatcher.describe)
    except BaseException:
        services.close()
        raise
    return House(services, dispatcher, preparing, webhooks, app)


def tidy(services: Services, now: float) -> None:
    """Clear away what is past its time: jobs with their videos, files, uploads begun and left."""
    for job in services.jobs.forget(before=now - services.settings.retention_days * 86_400):
        for token in stored_files(job.outcome.body if job.outcome else None):
            services.artifacts.drop(token)
    if expired := services.artifacts.sweep():
        log.info("%d files had expired", expired)
    if abandoned := services.uploads.sweep():
        log.info("%d uploads were never completed", abandoned)
    if unneeded := services.inputs.sweep(needed_inputs(services.jobs.live())):
        log.info("%d inputs were needed by no job any more", unneeded)


def needed_inputs(jobs: Iterable[Job]) -> set[str]:
    """Return the names of the files in the folder of inputs that *jobs* still need."""
    prepared = (job.prepared.sources for job in jobs if job.prepared is not None)
    return {source["sha256"] for sources in prepared for source in sources.values()}


def stored_files(body: Any) -> list[str]:
    """Return the tokens of the files that an output body points to."""
    if isinstance(body, dict):
        return [token for value in body.values() for token in stored_files(value)]
    if isinstance(body, list):
        return [token for value in body for token in stored_files(value)]
    found = STORED_FILE.match(body) if isinstance(body, str) else None
    return [found[1]] if found else []
