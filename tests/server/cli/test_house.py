import hashlib
import os
import time

import pytest

from server.cli.house import NoSlots, open_house, stored_files, tidy
from server.jobs.model import NewJob, Prepared
from server.jobs.store import UnknownJob
from server.reporting import succeeded
from server.services import DataInUse, open_services
from server.settings import Settings

DAY = 86_400


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path / "data", weights_dir=tmp_path, device="cpu")


@pytest.fixture
def services(settings):
    services = open_services(settings)
    yield services
    services.close()


def finish_one(services, folder):
    """Take one job through to a stored video; return the job and the file."""
    source = folder / "video.mp4"
    source.write_bytes(b"video")
    sha256 = hashlib.sha256(b"video").hexdigest()
    file = services.artifacts.take(
        source, sha256=sha256, file_name="video.mp4", content_type="video/mp4"
    )
    job = services.jobs.submit(NewJob(endpoint="fal-ai/wan", input={}, seed=1))
    claimed = services.jobs.claim("cpu0", frozenset())
    services.jobs.finish(job.id, claimed.attempt, succeeded({"video": {"url": file.path}}))
    return job, file


def test_a_forgotten_job_takes_its_video_along(services, tmp_path):
    """A disk that only fills is a server that stops one night."""
    job, file = finish_one(services, tmp_path)
    tidy(services, time.time() + 29 * DAY)
    assert file == services.artifacts.find(file.token)

    tidy(services, time.time() + 31 * DAY)

    assert services.artifacts.find(file.token) is None
    with pytest.raises(UnknownJob):
        services.jobs.get(job.id)


def test_inputs_go_once_no_job_needs_them(services):
    """Pictures and LoRAs of finished jobs would fill the disk."""
    waiting = services.jobs.submit(NewJob(endpoint="fal-ai/wan", input={}, seed=1, to_prepare=True))
    paths = []
    for data in (b"needed", b"not needed"):
        with services.inputs.receive(100) as incoming:
            incoming.write(data)
            paths.append(services.inputs.keep(incoming))
        os.utime(paths[-1], (1.0, 1.0))
    needed = {"a": {"path": str(paths[0]), "sha256": paths[0].name, "info": None}}
    services.jobs.prepare(waiting.id, Prepared(sources=needed))

    tidy(services, time.time())
    assert [True, False] == [path.exists() for path in paths]
    services.jobs.cancel(waiting.id)
    tidy(services, time.time())

    assert not paths[0].exists()


def test_a_waiting_job_is_never_forgotten(services):
    """However long the queue is: it was accepted, and it will be run."""
    job = services.jobs.submit(NewJob(endpoint="fal-ai/wan", input={}, seed=1))
    tidy(services, time.time() + 365 * DAY)

    assert job == services.jobs.get(job.id)


def test_an_upload_that_was_never_completed_is_cleared_away(services):
    """A browser tab that was closed in the middle leaves its parts behind."""
    services.uploads.announce("clip.mp4", None)
    [parts] = (services.settings.data_dir / "files" / "uploads").iterdir()
    tidy(services, time.time())
    assert parts.exists()

    long_ago = time.time() - 2 * DAY
    os.utime(parts, (long_ago, long_ago))
    tidy(services, time.time())

    assert not parts.exists()


def test_files_are_found_wherever_a_body_holds_them():
    """An endpoint to come may answer with a list of them."""
    body = {
        "video": {"url": "/cdn/files/a/x.mp4", "width": 1},
        "frames": [{"url": "/cdn/files/b/y.png"}, {"url": "https://elsewhere/cdn/files/c/z"}],
        "prompt": "see /cdn/files/d/e",
    }

    assert ["a", "b"] == stored_files(body)
    assert [] == stored_files(None)


def test_a_second_house_on_the_same_data_is_refused(settings, services):
    """Two servers would run each job twice."""
    with pytest.raises(DataInUse):
        open_house(settings)


def test_a_house_without_a_gpu_is_refused_if_one_was_asked_for(settings, monkeypatch):
    """`--device cuda` on a machine whose driver is broken must not fall back to the CPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(NoSlots):
        open_house(settings.model_copy(update={"device": "cuda"}))

    open_services(settings).close()
