"""What the HTTP half and the GPU half share: opened once, closed once."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from typing import TextIO

from server.jobs.store import JobStore
from server.keys import KeyRing, Passes
from server.media.artifacts import Artifacts
from server.media.inputs import Inputs
from server.media.uploads import Uploads
from server.settings import Settings
from server.signing import WebhookSigner


class DataInUse(Exception):
    """Another server is running on this data directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The opened data directory."""

    settings: Settings
    jobs: JobStore
    artifacts: Artifacts
    uploads: Uploads
    inputs: Inputs
    keys: KeyRing
    passes: Passes
    signer: WebhookSigner
    lock: TextIO
    """Held for as long as it is open."""

    def close(self) -> None:
        """Close the store and let another server have the directory."""
        self.jobs.close()
        self.lock.close()


def open_services(settings: Settings) -> Services:
    """Open the data directory, making what is missing in it.

    Raises:
        DataInUse: If another server has it.
        BadDatabase: If `jobs.db` is damaged or of a newer version.
    """
    data = settings.data_dir
    for folder in (data, data / "files", data / "outputs", data / "slots"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = _lock(settings)
    try:
        artifacts = Artifacts(data / "files")
        return Services(
            settings=settings,
            jobs=JobStore(
                data / "jobs.db",
                max_attempts=settings.max_attempts,
                max_queued=settings.max_queued,
            ),
            artifacts=artifacts,
            uploads=Uploads(data / "files" / "uploads", artifacts, settings.max_upload_bytes),
            inputs=Inputs(data / "inputs"),
            keys=KeyRing(data / "keys.json"),
            passes=Passes(data / "passes.key"),
            signer=WebhookSigner(data / "webhooks.key"),
            lock=lock,
        )
    except BaseException:
        lock.close()
        raise


def _lock(settings: Settings) -> TextIO:
    lock = (settings.data_dir / "lock").open("w")
    try:
        # The kernel lets go of it when the process ends, however it ends.
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        msg = (
            f"another server is running on {settings.data_dir}: stop it, or give this one a "
            "directory of its own (WAN_LOCAL_DATA_DIR)"
        )
        raise DataInUse(msg) from None
    return lock
