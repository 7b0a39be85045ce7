"""From a video in `outputs/` to a stored file and an outcome."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import replace
from functools import partial

import pytest

from server.dispatch.delivery import BadOutput, Delivery
from server.dispatch.slot import Done, Errand
from server.jobs.model import LogEntry, NewJob, Prepared
from server.jobs.store import JobStore
from server.media.artifacts import Artifacts
from server.policy import under_policy
from server.settings import Settings
from wan_local.errors import InvalidPlan
from wan_local.events import Finished
from wan_local.geometry import Size

POLICY = partial(under_policy, settings=Settings())

VIDEO = b"moov and mdat" * 100


@pytest.fixture
def jobs(tmp_path):
    jobs = JobStore(tmp_path / "jobs.db")
    yield jobs
    jobs.close()


@pytest.fixture
def artifacts(tmp_path):
    return Artifacts(tmp_path / "files", clock=lambda: 1000.0)


@pytest.fixture
def delivery(jobs, artifacts, tmp_path):
    (tmp_path / "outputs").mkdir()
    return Delivery(jobs, artifacts, tmp_path / "outputs", policy=POLICY)


def a_job(jobs, **changes):
    request = {
        "endpoint": "fal-ai/wan/v2.2-a14b/text-to-video",
        "input": {"prompt": "a fox"},
        "seed": 3,
    }
    jobs.submit(NewJob(**request | changes))
    return jobs.claim("gpu0", frozenset())


def done_with(job, video=VIDEO):
    finished = Finished("/elsewhere/x.mp4", Size(112, 64), 17, 16.0, 3, {}, "a fox")
    errand = Errand(job=job.id, attempt=job.attempt)
    sha256 = hashlib.sha256(video).hexdigest()
    return Done(errand=errand, finished=finished, sha256=sha256, size_bytes=len(video))


def test_a_whole_video_becomes_the_outcome(delivery, jobs, artifacts):
    """The slot's own idea of the path counts for nothing: it is told where to write."""
    job = a_job(jobs, output_ttl=60.0)
    delivery.path(job, delivery.plan(job)).write_bytes(VIDEO)
    outcome, token = delivery.store(job, done_with(job))
    stored = artifacts.find(token)

    assert VIDEO == artifacts.blob(stored).read_bytes()
    assert (stored.path, 1300, 112, 64, 17, 1.0625) == tuple(
        outcome.body["video"][name]
        for name in ("url", "file_size", "width", "height", "num_frames", "duration")
    )
    assert 1060.0 == stored.expires_at


def test_plans_may_run_without_their_loras_if_the_operator_says_so(jobs, artifacts, tmp_path):
    """The engine has no settings: what it may leave out is in the plan."""
    job = a_job(jobs, endpoint="fal-ai/wan/v2.2-a14b/text-to-video/turbo")
    strict, lenient = (
        Delivery(
            jobs,
            artifacts,
            tmp_path,
            policy=partial(under_policy, settings=Settings(turbo_without_lora=allowed)),
        ).plan(job)
        for allowed in (False, True)
    )

    assert [(True, False)] == [
        (lora.required, other.required)
        for lora, other in zip(strict.loras, lenient.loras, strict=True)
    ]
    assert strict.allowing_missing_loras() == lenient


def test_the_prompt_that_was_found_takes_the_place_of_the_clients(delivery, jobs):
    """It was rewritten before a slot was asked for; the engine must not do so again."""
    jobs.submit(
        NewJob(
            endpoint="fal-ai/wan/v2.2-a14b/text-to-video",
            input={"prompt": "a fox", "enable_prompt_expansion": True},
            seed=3,
            to_prepare=True,
        )
    )
    [job] = jobs.unprepared()
    jobs.prepare(job.id, Prepared(prompt="a red fox in deep snow"))

    prompt = delivery.plan(jobs.get(job.id)).prompt

    assert ("a red fox in deep snow", False) == (prompt.text, prompt.expand)


def test_an_expansion_that_failed_is_not_tried_again(jobs, tmp_path):
    """Its notes are in the log; one that was never tried, for want of a model, is told of."""
    settings = Settings(expansion="openai", expansion_url="http://127.0.0.1:1/v1")
    delivery = Delivery(
        jobs,
        Artifacts(tmp_path / "files"),
        tmp_path,
        policy=partial(under_policy, settings=settings),
    )
    job = a_job(jobs, input={"prompt": "a fox", "enable_prompt_expansion": True})
    tried = Prepared(notes=(LogEntry(1.0, "WARN", "it cannot be reached"),))
    plans = [delivery.plan(replace(job, prepared=found)) for found in (Prepared(), tried)]

    assert [False, False] == [plan.prompt.expand for plan in plans]
    assert [True, False] == ["was not expanded" in str(plan.remarks) for plan in plans]


def test_a_server_that_died_in_the_middle_may_store_again(delivery, jobs):
    """Between storing and recording is room for a kill -9; the slot still has the ending."""
    job = a_job(jobs)
    delivery.path(job, delivery.plan(job)).write_bytes(VIDEO)
    delivery.store(job, done_with(job))
    outcome, _ = delivery.store(job, done_with(job))

    assert jobs.finish(job.id, job.attempt, outcome)

    delivery.clear(job)

    assert not delivery.path(job, delivery.plan(job)).exists()


@pytest.mark.parametrize("video", [None, VIDEO[:-1]], ids=["missing", "cut"])
def test_a_video_that_is_not_what_was_hashed_is_refused(delivery, jobs, artifacts, video):
    """A full disk, a bad disk, somebody who tidied up."""
    job = a_job(jobs)
    if video is not None:
        delivery.path(job, delivery.plan(job)).write_bytes(video)
    with pytest.raises(BadOutput, match=f"job {job.id}, attempt 1"):
        delivery.store(job, done_with(job))


def test_a_dropped_video_is_gone(delivery, jobs, artifacts):
    """Its job was cancelled in the meantime."""
    job = a_job(jobs)
    delivery.path(job, delivery.plan(job)).write_bytes(VIDEO)
    _, token = delivery.store(job, done_with(job))
    delivery.drop(token)

    assert artifacts.find(token) is None


def test_the_plan_is_made_again_from_the_clients_input(delivery, jobs):
    """Inputs survive releases, plans need not."""
    plan = delivery.plan(a_job(jobs, input={"prompt": "a fox", "num_frames": 49}))

    assert ("a fox", 49, 3) == (plan.prompt.text, plan.num_frames, plan.sampling.seed)


def test_the_plan_shows_as_much_as_was_asked_for(delivery, jobs):
    """It is no part of the input, which is fal's alone."""
    assert 4 == delivery.plan(a_job(jobs, preview_every=4)).preview_every
    assert 0 == delivery.plan(a_job(jobs)).preview_every


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"input": {"prompt": "a fox", "num_frames": 1000}}, "not accepted any more: 1 error"),
        ({"endpoint": "fal-ai/gone"}, "there is no endpoint fal-ai/gone any more"),
    ],
    ids=["input", "endpoint"],
)
def test_what_this_release_does_not_know_any_more_is_an_invalid_plan(
    delivery, jobs, changes, sentence
):
    """A downgrade with jobs in the queue."""
    with pytest.raises(InvalidPlan, match=sentence):
        delivery.plan(a_job(jobs, **changes))


def test_sweeping_leaves_running_attempts_alone(delivery, jobs, tmp_path):
    """A part of a dead attempt is only in the way; a running one is somebody's video."""
    job = a_job(jobs)
    names = [f"{job.id}.1.part", f"{job.id}.1.mp4", f"{job.id}.0.mp4", "stranger.3.mp4", "notes"]
    for name in names:
        (tmp_path / "outputs" / name).write_bytes(b"x")
    delivery.sweep()

    assert set(names[:2]) == {path.name for path in (tmp_path / "outputs").iterdir()}


def test_a_sidecar_tells_what_the_file_must_not(jobs, artifacts, tmp_path):
    """Timings differ from run to run and the same request should make the same bytes."""
    (tmp_path / "outputs").mkdir()
    sidecars = tmp_path / "notes" / "sidecars"
    delivery = Delivery(jobs, artifacts, tmp_path / "outputs", policy=POLICY, sidecars=sidecars)
    job = a_job(jobs)
    delivery.path(job, delivery.plan(job)).write_bytes(VIDEO)
    done = done_with(job)
    delivery.store(job, done)
    about = json.loads((sidecars / f"{job.id}.json").read_text())

    assert ({}, done.sha256) == (about["timings"], about["file"]["sha256"])


def test_a_sidecar_that_cannot_be_written_costs_no_video(jobs, artifacts, tmp_path, caplog):
    """A full or missing share once had every video made three times and then given up."""
    (tmp_path / "outputs").mkdir()
    (tmp_path / "a-file").touch()
    share = tmp_path / "a-file" / "sidecars"
    delivery = Delivery(jobs, artifacts, tmp_path / "outputs", policy=POLICY, sidecars=share)
    job = a_job(jobs)
    delivery.path(job, delivery.plan(job)).write_bytes(VIDEO)
    with caplog.at_level(logging.WARNING):
        _, token = delivery.store(job, done_with(job))

    assert VIDEO == artifacts.blob(artifacts.find(token)).read_bytes()
    assert f"job {job.id}: its sidecar was not written" in caplog.text


def test_a_plan_carries_what_was_asked_for(delivery, jobs):
    """For the file's metadata; the engine knows nothing of endpoints."""
    asked = json.loads(delivery.plan(a_job(jobs)).record.request)

    assert ("fal-ai/wan/v2.2-a14b/text-to-video", "a fox") == (
        asked["endpoint"],
        asked["request"]["prompt"],
    )
