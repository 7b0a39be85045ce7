"""The files of a request, found before a slot is taken."""

from __future__ import annotations

import base64
import threading

import pytest

from server.dispatch.localising import Localising, endpoint_of, read_request, sources_of
from server.dispatch.preparing import BadInput
from server.jobs.model import NewJob, Prepared
from server.jobs.store import JobStore
from server.media.artifacts import Artifacts
from server.media.fetch import Fetcher, NotWanted
from server.media.inputs import Inputs
from server.media.sources import Source
from server.settings import Settings
from tests.wan_local.media.files import picture, video
from wan_local.errors import InvalidPlan, LoraRefused
from wan_local.geometry import Size

I2V = "fal-ai/wan/v2.2-a14b/image-to-video"
V2V = "fal-ai/wan/v2.2-a14b/video-to-video"
LORA = "fal-ai/wan/v2.2-a14b/text-to-video/lora"


@pytest.fixture
def jobs(tmp_path):
    jobs = JobStore(tmp_path / "jobs.db")
    yield jobs
    jobs.close()


@pytest.fixture
def localise(jobs, tmp_path):
    fetcher = Fetcher(
        Inputs(tmp_path / "inputs"),
        Artifacts(tmp_path / "files"),
        Settings(fetch_roots=(tmp_path,)),
    )

    def find_lora(address, fetch):
        if address != "my-style":
            msg = f"{address} is no LoRA"
            raise LoraRefused(msg)
        return Source("/loras/my-style.safetensors", "a" * 64)

    def fits(source, model):
        assert ("/loras/my-style.safetensors", "wan2.2-t2v-a14b") == (source.path, model)

    stopping = threading.Event()
    step = Localising(jobs, fetcher, find_lora, fits, max_bytes=10**6, stopping=stopping)
    step.stopping = stopping
    return step


def submit(jobs, endpoint, **input):
    new = NewJob(endpoint=endpoint, input={"prompt": "a fox", **input}, seed=1, to_prepare=True)
    return jobs.submit(new)


def data_uri(path) -> str:
    return "data:;base64," + base64.b64encode(path.read_bytes()).decode()


def refusal(localise, job) -> BadInput:
    with pytest.raises(BadInput) as refused:
        localise(job, Prepared())
    return refused.value


def test_a_picture_is_found_and_known(jobs, localise, tmp_path):
    """The plan needs its size, and the engine its path."""
    url = data_uri(picture(tmp_path / "a.png", (64, 32)))
    job = submit(jobs, I2V, image_url=url)

    jobs.prepare(job.id, localise(job, Prepared(prompt="kept")))
    job = jobs.get(job.id)
    endpoint, wire = read_request(job)
    [source] = sources_of(job, endpoint.needs(wire)).values()

    assert "kept" == job.prepared.prompt
    assert Size(64, 32) == source.info.size
    assert source.path.startswith(str(tmp_path / "inputs"))


def test_a_video_is_found_and_known(jobs, localise, tmp_path):
    """Its own frame count and rate, for the plan."""
    path = video(tmp_path / "a.mp4", 12, fps=16)
    [stored] = localise(submit(jobs, V2V, video_url=str(path)), Prepared()).sources.values()

    assert (12, 16.0) == (stored["info"]["num_frames"], stored["info"]["fps"])


def test_a_picture_that_is_used_twice_is_fetched_once(jobs, localise, tmp_path):
    """First and last frame of a loop."""
    url = data_uri(picture(tmp_path / "a.png", (64, 32)))
    job = submit(jobs, I2V, image_url=url, end_image_url=url)

    assert 1 == len(localise(job, Prepared()).sources)


def test_a_lora_is_found_by_its_own_rules(jobs, localise):
    """A name, a repository, a URL: `lora_paths.py` knows them."""
    known = submit(jobs, LORA, loras=[{"path": "my-style"}])
    unknown = submit(jobs, LORA, loras=[{"path": "my-style"}, {"path": "other"}])

    [stored] = localise(known, Prepared()).sources.values()
    refused = refusal(localise, unknown)

    assert "/loras/my-style.safetensors" == stored["path"]
    assert ("body", "loras", 1, "path") == refused.loc
    assert "other is no LoRA" == str(refused)


@pytest.mark.parametrize(
    ("url", "type"),
    [
        ("https://example.com/a.png", "file_download_error"),
        ("data:image/png;base64,AAAA", "unsupported_image_format"),
        ("data:,", "unsupported_image_format"),
    ],
)
def test_what_cannot_be_had_or_used_is_refused_at_its_field(jobs, localise, url, type):
    """A client marks the field."""
    refused = refusal(localise, submit(jobs, I2V, image_url=url))

    assert (("body", "image_url"), type) == (refused.loc, refused.error.type)


def test_the_wrong_kind_of_file_is_refused(jobs, localise, tmp_path):
    """A picture in the place of a video: before a GPU is taken."""
    refused = refusal(localise, submit(jobs, V2V, video_url=data_uri(picture(tmp_path / "a.png"))))

    assert (("body", "video_url"), "unsupported_video_format") == (refused.loc, refused.error.type)


def test_a_cancelled_job_is_not_fetched_for(jobs, localise, tmp_path):
    """Nobody waits for it."""
    job = submit(jobs, I2V, image_url=data_uri(picture(tmp_path / "a.png")))
    jobs.cancel(job.id)

    with pytest.raises(NotWanted):
        localise(job, Prepared())


def test_a_stop_ends_the_fetching(jobs, localise, tmp_path):
    """The next server fetches again."""
    job = submit(jobs, I2V, image_url=data_uri(picture(tmp_path / "a.png")))
    localise.stopping.set()

    with pytest.raises(NotWanted):
        localise(job, Prepared())


def test_a_job_of_another_release_is_refused_with_the_reason(jobs):
    """An update may take an endpoint away, or a field, or ask for a file that was never fetched."""
    with pytest.raises(InvalidPlan, match="no endpoint fal-ai/nothing any more"):
        endpoint_of(submit(jobs, "fal-ai/nothing"))
    with pytest.raises(InvalidPlan, match="is not accepted any more: 1 errors"):
        read_request(submit(jobs, I2V))
    job = submit(jobs, I2V, image_url="https://example.com/a.png")
    with pytest.raises(InvalidPlan, match="submit it again"):
        sources_of(job, read_request(job)[0].needs(read_request(job)[1]))


def test_one_url_cannot_be_picture_and_lora(jobs, localise):
    """It once ended in an internal error; now at the field of what it is not."""
    job = submit(jobs, f"{I2V}/lora", image_url="my-style", loras=[{"path": "my-style"}])

    assert ("body", "image_url") == refusal(localise, job).loc


def test_a_bad_picture_used_twice_is_refused_at_the_first_of_its_fields(jobs, localise):
    """It is fetched once, and clients mark one field."""
    url = "data:image/png;base64,aaaa"
    job = submit(jobs, I2V, image_url=url, end_image_url=url)

    assert ("body", "image_url") == refusal(localise, job).loc
