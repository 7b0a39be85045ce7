"""A request to an endpoint -> a job in the queue, or the reason why not.

Whatever can never succeed is refused here and now: the hosted queue lets bad input wait its turn
first, but its clients take an immediate 422 just as well.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from server.api.bodies import read_body
from server.api.errors import RETRY_AFTER, Refused, not_found
from server.api.headers import Wishes, read_wishes
from server.api.validation import parse_object, validate
from server.endpoints import ENDPOINTS, Endpoint, find_endpoint
from server.jobs.model import Job, JobState, NewJob
from server.media.sources import provisional
from server.policy import under_policy
from server.reporting import engine_failed
from server.services import Services
from wan_local.errors import WanLocalError
from wan_local.models.loras.files import require_loras
from wan_local.models.weights import find_checkpoint
from wan_local.plan import LoraRef

DRAWN_SEEDS = 2**31
"""Seeds that the server draws are below this: they fit wherever a client may keep them."""


@dataclass(frozen=True, slots=True)
class Application:
    """A validated request that wants to become a job."""

    new: NewJob
    wishes: Wishes
    fingerprint: str
    """Equal for equal bodies of one caller to one endpoint."""
    loras: tuple[LoraRef, ...] = ()
    """What its plan needs beside the model."""


class Admission:
    """Lets requests into the queue."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def read(self, request: Request, path: str) -> Application:
        """Read and validate a request to the endpoint at *path*.

        Raises:
            Refused: 400, 404, 408, 413 or 422.
        """
        endpoint = _endpoint_at(path)
        wishes = read_wishes(request.headers, request.query_params)
        settings = self._services.settings
        raw = await read_body(request, settings.max_json_bytes, settings.body_timeout)
        wire = validate(endpoint.input, parse_object(raw))
        owner: str = request.scope["owner"]
        given: int | None = getattr(wire, "seed", None)
        seed = secrets.randbelow(DRAWN_SEEDS) if given is None else given
        needs = endpoint.needs(wire)
        try:
            asked = endpoint.plan(wire, seed, provisional(needs))
            plan = under_policy(asked, settings)
        except WanLocalError as error:
            raise _refused(error) from None
        new = NewJob(
            endpoint=endpoint.id,
            input=wire.model_dump(mode="json"),
            seed=seed,
            owner=owner,
            priority=wishes.priority,
            affinity=endpoint.model,
            retry=wishes.retry,
            start_deadline=None
            if wishes.start_within is None
            else time.time() + wishes.start_within,
            to_prepare=bool(needs) or (asked.prompt.expand and settings.expansion == "openai"),
            preview_every=settings.preview_every
            if wishes.preview_every is None
            else wishes.preview_every,
            output_ttl=wishes.output_ttl,
            idempotency_key=wishes.idempotency_key,
            webhook=wishes.webhook,
            base_url=request.scope["urls"].files,
        )
        return Application(new, wishes, _fingerprint(owner, endpoint.id, raw), plan.loras)

    async def submit(self, application: Application) -> Job:
        """Put the job into the queue; it is on the disk when this returns.

        Raises:
            Refused: 422 if the model's weights are not here, 429 if more jobs wait than the client
                wants to wait for.
            QueueFull: If as many wait as may.
            StoreUnavailable: If it could not be written.
        """
        # A thread for the fsync; submissions that wait for it together share one.
        return await run_in_threadpool(self._submit, application)

    def _submit(self, application: Application) -> Job:
        jobs, settings = self._services.jobs, self._services.settings
        try:
            find_checkpoint(settings.weights_dir, application.new.affinity)
            if not settings.turbo_without_lora:
                require_loras(settings.weights_dir, application.loras)
        except WanLocalError as error:
            raise _refused(error) from None
        longest = application.wishes.max_queue_length
        waiting = jobs.counts()[JobState.QUEUED]
        if longest is not None and waiting > longest:
            message = f"{waiting} requests are waiting, and fal_max_queue_length is {longest}"
            raise Refused(429, {"detail": message}, RETRY_AFTER)
        return jobs.submit(application.new)


def _endpoint_at(path: str) -> Endpoint:
    endpoint = find_endpoint(path)
    if endpoint is not None:
        return endpoint
    # Python's `path=` argument appends to the id; none of our endpoints has paths below it.
    below = [id for id in ENDPOINTS if path.lower().startswith(f"{id}/")]
    if below:
        msg = f"Path {path[len(max(below, key=len)) :]} not found"
        raise not_found(msg)
    msg = f"Application {path!r} not found; this server has: {', '.join(ENDPOINTS)}"
    raise not_found(msg)


def _refused(error: WanLocalError) -> Refused:
    outcome = engine_failed(type(error).__name__, str(error))
    return Refused(outcome.status_code, outcome.body)


def _fingerprint(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
