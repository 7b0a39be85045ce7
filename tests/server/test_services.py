"""The data directory: opened by one server at a time."""

from __future__ import annotations

import stat
import subprocess
import sys

import pytest

from server.jobs.model import NewJob
from server.services import DataInUse, open_services
from server.settings import Settings


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path / "a" / "data", weights_dir=tmp_path)


def test_a_second_server_is_refused(settings):
    """Two dispatchers on one queue would run each job twice."""
    services = open_services(settings)
    with pytest.raises(DataInUse, match="another server is running on"):
        open_services(settings)
    services.close()

    open_services(settings).close()


def test_a_server_that_died_leaves_the_directory_free(settings):
    """No stale lock file to delete by hand after a power cut."""
    code = (
        "import os, sys; from server.services import open_services; "
        "from server.settings import Settings; from pathlib import Path; "
        "open_services(Settings(data_dir=Path(sys.argv[1]))); os.kill(os.getpid(), 9)"
    )
    died = subprocess.run([sys.executable, "-c", code, str(settings.data_dir)])

    assert -9 == died.returncode
    open_services(settings).close()


def test_a_failed_start_lets_go_of_the_directory(settings):
    """Otherwise the repaired start would meet its own lock."""
    settings.data_dir.mkdir(parents=True)
    (settings.data_dir / "webhooks.key").write_text("not a key")
    with pytest.raises(ValueError, match=r"."):
        open_services(settings)
    (settings.data_dir / "webhooks.key").unlink()

    open_services(settings).close()


def test_everything_is_kept_for_the_next_server(settings):
    """Jobs, keys, passes and the signing key."""
    first = open_services(settings)
    job = first.jobs.submit(NewJob(endpoint="a/b", input={}, seed=1))
    id, secret = first.keys.create("studio")
    token, jwks = first.passes.issue(id, 60), first.signer.jwks()
    first.close()
    second = open_services(settings)

    assert job.request == second.jobs.get(job.id).request
    assert id == second.keys.check(f"Key {id}:{secret}")
    assert id == second.passes.check(token)
    assert jwks == second.signer.jwks()
    second.close()


def test_folders_are_private(settings):
    """Footage and prompts are nobody else's business on a shared machine."""
    open_services(settings).close()

    assert {0o700} == {
        stat.S_IMODE((settings.data_dir / name).stat().st_mode)
        for name in (".", "files", "outputs", "slots")
    }
