"""The outbox: tell whoever asked that a job has ended, signed, until they have heard it.

The row to send is written in the transaction that ends the job, so a webhook is never lost and
never sent for a job that did not end. It may arrive twice; receivers go by `request_id`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import httpcore
import orjson

from server.jobs.model import Job, JobState
from server.jobs.store import DueWebhook, JobStore
from server.media.addresses import AddressPolicy, GuardedBackend
from server.reporting import Urls, result_body
from server.signing import WebhookSigner

log = logging.getLogger(__name__)

TIMEOUT = 15.0
"""Seconds a receiver has to answer."""
DELAYS = (5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3000)
"""Seconds between tries: ten retries over two hours, as the hosted service makes."""
AT_ONCE = 8
"""Deliveries under way at a time, so that one dead receiver does not hold up the others."""
LOCAL_USER = "local"
"""User id in the signature where no API key was needed."""


class Webhooks:
    """Delivers what is due in a thread of its own.

    Args:
        jobs: The store whose outbox is emptied.
        signer: Signs each delivery.
        policy: Where deliveries may go.
        clock: Unix seconds.
    """

    def __init__(
        self,
        jobs: JobStore,
        signer: WebhookSigner,
        policy: AddressPolicy,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._jobs = jobs
        self._signer = signer
        self._clock = clock
        self._pool = httpcore.ConnectionPool(
            network_backend=GuardedBackend(policy), max_connections=AT_ONCE
        )
        self._senders = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="webhook")
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="webhooks", daemon=True)
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin delivering, first what an earlier run of the server left undone."""
        self._unsubscribe = self._jobs.listen(self._notice)
        self._thread.start()

    def stop(self) -> None:
        """Stop after the deliveries under way; what is left is sent by the next run."""
        self._unsubscribe()
        self._stopping = True
        self._wake.set()
        self._thread.join()
        self._senders.shutdown()
        self._pool.close()

    def deliver_due(self) -> int:
        """Try everything that is due now, once; return how many were tried."""
        due = self._jobs.due_webhooks(self._clock(), AT_ONCE)
        wait([self._senders.submit(self._try, webhook) for webhook in due])
        return len(due)

    def _notice(self, job_id: str) -> None:
        job = self._jobs.get(job_id)
        if job.state.is_final and job.request.webhook is not None:
            self._wake.set()

    def _loop(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                idle = self.deliver_due() == 0
            except Exception:
                log.exception("webhooks could not be read or recorded")
                idle = True
            if idle:
                self._wake.wait(1.0)

    def _try(self, webhook: DueWebhook) -> None:
        answer = self._post(webhook.url, webhook.job)
        if isinstance(answer, int) and 200 <= answer < 300:
            self._jobs.webhook_delivered(webhook.job.id)
            return
        log.warning("webhook of job %s failed: %s", webhook.job.id, answer)
        if webhook.tries >= len(DELAYS):
            log.error("webhook of job %s is given up", webhook.job.id)
            self._jobs.webhook_delivered(webhook.job.id)
            return
        self._jobs.webhook_failed(webhook.job.id, self._clock() + DELAYS[webhook.tries])

    def _post(self, url: str, job: Job) -> int | str:
        """Send one webhook; return the receiver's status, or what went wrong in a few words."""
        body = orjson.dumps(payload(job))
        headers = self._signer.headers(
            request_id=job.id,
            user_id=job.request.owner or LOCAL_USER,
            now=int(self._clock()),
            body=body,
        )
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT)
        try:
            with self._pool.stream(
                "POST",
                url,
                headers=[("Content-Type", "application/json"), *headers.items()],
                content=body,
                extensions={"timeout": timeouts},
            ) as response:
                # Redirects are not followed: 3xx counts as a failure. The body is of no interest.
                return int(response.status)
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            return f"{type(error).__name__}: {error}"
        except (httpcore.UnsupportedProtocol, ValueError) as error:
            return f"the URL cannot be used: {error}"


def payload(job: Job) -> dict[str, Any]:
    """Return the body of the webhook of *job*, which has ended."""
    outcome = job.outcome
    if outcome is None:
        msg = f"job {job.id} has not ended"
        raise ValueError(msg)
    base = job.request.base_url
    body: dict[str, Any] = {
        "request_id": job.id,
        "gateway_request_id": job.id,
        "status": "OK" if outcome.state is JobState.SUCCEEDED else "ERROR",
        "payload": result_body(outcome, Urls(queue=base, files=base)),
    }
    if outcome.state is not JobState.SUCCEEDED:
        body["error"] = f"Invalid status code: {outcome.status_code}"
    return body
