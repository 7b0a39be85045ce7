"""Prompts written out before a slot is taken."""

from __future__ import annotations

import pytest

from server.dispatch.expanding import Expanding
from server.dispatch.preparing import BadInput
from server.expansion import open_expander
from server.jobs.model import NewJob, Prepared
from server.jobs.store import JobStore
from server.media.sources import Source, stored_sources
from server.settings import Settings
from tests.server.language_server import running
from tests.wan_local.media.files import picture
from wan_local.geometry import Size
from wan_local.media import MediaInfo

T2V = "fal-ai/wan/v2.2-a14b/text-to-video"
I2V = "fal-ai/wan/v2.2-a14b/image-to-video"
URL = "http://studio.lan/a.png"


@pytest.fixture
def server():
    with running() as server:
        yield server


@pytest.fixture
def jobs(tmp_path):
    jobs = JobStore(tmp_path / "jobs.db")
    yield jobs
    jobs.close()


@pytest.fixture
def expand(server):
    settings = Settings(
        expansion="openai",
        expansion_url=server.url,
        expansion_model="qwen3",
        expansion_vision=True,
    )
    return Expanding(open_expander(settings))


def submit(jobs, endpoint=T2V, **input):
    request = {"prompt": "a fox", "enable_prompt_expansion": True, **input}
    return jobs.submit(NewJob(endpoint=endpoint, input=request, seed=3, to_prepare=True))


def test_the_expansion_is_stored_with_the_job(jobs, expand):
    """A second attempt makes the same video, whatever the language model says by then."""
    job = submit(jobs)
    jobs.prepare(job.id, expand(job, Prepared()))
    kept = jobs.get(job.id).prepared

    assert "a red cat runs" == kept.prompt
    assert [("INFO", "the prompt was expanded by qwen3")] == [
        (note.level, note.message) for note in kept.notes
    ]


def test_nobody_is_asked_for_a_job_that_did_not(jobs, expand, server):
    """It goes through the same steps as the others."""
    found = Prepared(sources={"a": 1})

    assert found == expand(submit(jobs, enable_prompt_expansion=False), found)
    assert [] == server.asked


def test_a_failure_leaves_the_clients_words_and_a_warning(jobs, expand, server):
    """The video is made all the same."""
    server.status = 500
    prepared = expand(submit(jobs), Prepared())

    assert prepared.prompt is None
    assert "WARN" == prepared.notes[0].level
    assert "is used as written: the language model's server answered 500" in (
        prepared.notes[0].message
    )


def test_the_picture_goes_along(jobs, expand, server, tmp_path):
    """A model that can see describes how that very cat moves."""
    path = picture(tmp_path / "a.png", (64, 32))
    info = MediaInfo(kind="image", size=Size(64, 32))
    sources = stored_sources({URL: Source(str(path), "0" * 64, info)})
    expand(submit(jobs, I2V, image_url=URL), Prepared(sources=sources))

    assert ["text", "image_url"] == [
        part["type"] for part in server.asked[0]["messages"][1]["content"]
    ]


def test_a_job_of_another_release_ends_here(jobs, expand):
    """And not in the thread that prepares all of them."""
    with pytest.raises(BadInput, match="there is no endpoint"):
        expand(submit(jobs, "fal-ai/gone"), Prepared())
