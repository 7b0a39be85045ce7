"""The attendant of a slot, with a slot that says what the test wants.

`test_dispatcher.py` has the same attendant with real processes; here are the moments they cannot
be brought to on purpose.
"""

from __future__ import annotations

import hashlib
import queue
from functools import partial

import pytest

from server.dispatch.attendant import Attendant
from server.dispatch.delivery import Delivery
from server.dispatch.slot import (
    Alive,
    Cancel,
    Cancelled,
    Done,
    Errand,
    Failed,
    Hello,
    Lost,
    Quit,
    Run,
    Said,
)
from server.jobs.model import JobState, NewJob, Preview
from server.jobs.store import JobStore
from server.media.artifacts import Artifacts
from server.policy import under_policy
from server.reporting import cancelled
from server.settings import Settings
from tests.server.dispatch.conftest import wait_until
from wan_local.events import Finished, Previewed, StepDone
from wan_local.geometry import Size

POLICY = partial(under_policy, settings=Settings())

VIDEO = b"moov and mdat"


class ScriptedSlot:
    """A slot whose lines are written by the test."""

    name = "gpu0"

    def __init__(self) -> None:
        self.hello = Hello(slot="gpu0", pid=7, device="a GPU")
        self.starts = 0
        self.refuses = 0
        self.orders = queue.SimpleQueue()
        self.lines = queue.SimpleQueue()

    def start(self):
        self.starts += 1
        if self.starts <= self.refuses:
            msg = "the GPU has fallen off the bus"
            raise Lost(msg)
        return self.hello

    def send(self, message):
        self.orders.put(message)
        if isinstance(message, Quit):
            self.lines.put(Lost("ended"))

    def receive(self):
        line = self.lines.get()
        if isinstance(line, Lost):
            raise line
        return line

    def kill(self):
        self.lines.put(Lost("killed"))

    def order(self, kind):
        """Return the next order, which is to be of *kind*."""
        order = self.orders.get(timeout=20)
        assert isinstance(order, kind), order
        return order


@pytest.fixture
def jobs(tmp_path):
    jobs = JobStore(tmp_path / "jobs.db")
    yield jobs
    jobs.close()


@pytest.fixture
def artifacts(tmp_path):
    return Artifacts(tmp_path / "files")


@pytest.fixture
def slot():
    return ScriptedSlot()


@pytest.fixture
def outputs(tmp_path):
    folder = tmp_path / "outputs"
    folder.mkdir()
    return folder


@pytest.fixture
def attendant(slot, jobs, artifacts, outputs):
    attendant = Attendant(slot, jobs, Delivery(jobs, artifacts, outputs, policy=POLICY))
    leave = jobs.listen(lambda id: attendant.wake(jobs.get(id)))
    yield attendant
    attendant.stop(0)
    attendant.join()
    leave()


def submit(jobs, **changes):
    request = {
        "endpoint": "fal-ai/wan/v2.2-a14b/text-to-video",
        "input": {"prompt": "a fox"},
        "seed": 3,
    }
    return jobs.submit(NewJob(**request | changes)).id


def done(errand, video=VIDEO):
    finished = Finished("", Size(112, 64), 17, 16.0, 3)
    sha256 = hashlib.sha256(video).hexdigest()
    return Done(errand=errand, finished=finished, sha256=sha256, size_bytes=len(video))


def deliver(slot, order, outputs):
    """Let the slot carry *order* out."""
    (outputs / f"{order.errand.job}.{order.errand.attempt}.mp4").write_bytes(VIDEO)
    slot.lines.put(done(order.errand))


def ended(jobs, id):
    wait_until(lambda: jobs.get(id).state.is_final)
    return jobs.get(id)


def test_the_latest_preview_hangs_on_the_board(attendant, slot, jobs, outputs):
    """Until the job ends; the file it ends with is the better picture."""
    attendant.start()
    id = submit(jobs, preview_every=1)
    order = slot.order(Run)
    assert 1 == order.plan.preview_every
    for step, picture in ((1, "Zmlyc3Q="), (2, "c2Vjb25k")):
        slot.lines.put(Said(errand=order.errand, event=Previewed(step, 4, picture)))
    wait_until(lambda: jobs.get(id).preview == Preview(2, b"second"))

    deliver(slot, order, outputs)
    assert None is ended(jobs, id).preview


def test_a_waiting_slot_is_woken_by_a_submission(attendant, slot, jobs, outputs):
    """Nobody polls: an idle slot sleeps until there is something to do."""
    attendant.start()
    wait_until(lambda: attendant.describe()["state"] == "idle")
    id = submit(jobs)
    order = slot.order(Run)

    assert (Errand(job=id, attempt=1), "a fox") == (order.errand, order.plan.prompt.text)
    assert ("busy", id) == (attendant.describe()["state"], attendant.describe()["job"])

    deliver(slot, order, outputs)

    assert JobState.SUCCEEDED is ended(jobs, id).state


def test_a_refusal_points_at_the_field_it_is_about(attendant, slot, jobs):
    """The engine names a part of the plan; the client reads its own words."""
    attendant.start()
    id = submit(jobs)
    errand = slot.order(Run).errand
    slot.lines.put(Failed(errand=errand, error="ContentRefused", message="no", part="prompt"))
    (detail,) = ended(jobs, id).outcome.body["detail"]

    assert (["body", "prompt"], "content_policy_violation") == (detail["loc"], detail["type"])


def test_messages_about_other_errands_change_nothing(attendant, slot, jobs, outputs):
    """A slot may still talk of what was taken from it."""
    id = submit(jobs)
    attendant.start()
    order = slot.order(Run)
    stale = Errand(job=id, attempt=0)
    for message in (
        Said(errand=stale, event=StepDone(9, 9)),
        done(stale),
        Failed(errand=Errand(job="other", attempt=1), error="InvalidPlan", message="no"),
    ):
        slot.lines.put(message)
    deliver(slot, order, outputs)

    assert JobState.SUCCEEDED is ended(jobs, id).state
    assert "denoise 9/9" not in [line.message for line in jobs.get(id).log]


def test_a_video_that_is_not_whole_is_no_result(attendant, slot, jobs, outputs, artifacts):
    """It counts as a crash: whatever wrote it is not to be trusted, and the job is tried again."""
    id = submit(jobs)
    attendant.start()
    first = slot.order(Run)
    (outputs / f"{id}.1.mp4").write_bytes(VIDEO[:-1])
    slot.lines.put(done(first.errand))
    second = slot.order(Run)

    assert Errand(job=id, attempt=2) == second.errand
    assert 1 == jobs.get(id).crashes
    assert [] == list(outputs.iterdir())

    deliver(slot, second, outputs)
    ended(jobs, id)


def test_a_result_that_comes_after_a_cancel_is_dropped(attendant, slot, jobs, outputs, artifacts):
    """The engine may finish before it hears of it; the file must not stay for ever."""
    id = submit(jobs)
    attendant.start()
    order = slot.order(Run)
    jobs.cancel(id)

    assert order.errand == slot.order(Cancel).errand

    deliver(slot, order, outputs)

    assert cancelled() == ended(jobs, id).outcome
    wait_until(lambda: not list(outputs.iterdir()))
    assert [] == list((outputs.parent / "files" / "index").iterdir())


def test_what_the_process_is_doing_for_nobody_is_cancelled(attendant, slot, jobs):
    """Its job was cancelled, or given to another slot, while no server was there."""
    slot.hello = slot.hello.model_copy(update={"running": Errand(job="gone", attempt=1)})
    attendant.start()

    assert "gone" == slot.order(Cancel).errand.job


def test_an_older_attempt_is_not_adopted(attendant, slot, jobs, outputs):
    """The fence would refuse its result: running it on is GPU time for nothing."""
    id = submit(jobs)
    for attempt in (1, 2):
        jobs.claim("gpu0", frozenset())
        if attempt == 1:
            jobs.release(id, 1, crashed=False)
    slot.hello = slot.hello.model_copy(update={"running": Errand(job=id, attempt=1)})
    attendant.start()

    assert Errand(job=id, attempt=1) == slot.order(Cancel).errand

    order = slot.order(Run)

    assert (3, 0) == (order.errand.attempt, jobs.get(id).crashes)

    slot.lines.put(Cancelled(errand=Errand(job=id, attempt=1)))
    deliver(slot, order, outputs)

    assert JobState.SUCCEEDED is ended(jobs, id).state


def test_an_adopted_job_is_not_handed_over_again(attendant, slot, jobs, outputs):
    """The process has it already; only its ending is awaited."""
    id = submit(jobs)
    jobs.claim("gpu0", frozenset())
    errand = Errand(job=id, attempt=1)
    slot.hello = slot.hello.model_copy(update={"running": errand})
    attendant.start()
    (outputs / f"{id}.1.mp4").write_bytes(VIDEO)
    slot.lines.put(done(errand))

    assert (JobState.SUCCEEDED, 1) == (ended(jobs, id).state, jobs.get(id).attempt)
    assert slot.orders.empty()


def test_an_adopted_job_that_was_to_be_cancelled_is(attendant, slot, jobs):
    """The wish was on the disk before the server died."""
    id = submit(jobs)
    jobs.claim("gpu0", frozenset())
    jobs.cancel(id)
    errand = Errand(job=id, attempt=1)
    slot.hello = slot.hello.model_copy(update={"running": errand})
    attendant.start()
    slot.lines.put(Alive())

    assert errand == slot.order(Cancel).errand

    slot.lines.put(Cancelled(errand=errand))

    assert cancelled() == ended(jobs, id).outcome


def test_a_slot_that_does_not_come_up_is_tried_again(attendant, slot, jobs, outputs):
    """A driver that is being updated comes back; the job has waited and nobody is to blame."""
    slot.refuses = 1
    id = submit(jobs)
    attendant.start()
    wait_until(lambda: attendant.describe()["problem"])

    assert "the GPU has fallen off the bus" == attendant.describe()["problem"]
    assert "down" == attendant.describe()["state"]

    order = slot.order(Run)

    assert (1, 0) == (order.errand.attempt, jobs.get(id).crashes)
    assert "" == attendant.describe()["problem"]

    deliver(slot, order, outputs)
    ended(jobs, id)


def test_a_slot_that_dies_idle_blames_no_job(attendant, slot, jobs, outputs):
    """It is started again, after a pause, and goes on."""
    attendant.start()
    wait_until(lambda: attendant.describe()["state"] == "idle")
    slot.lines.put(Lost("died in its sleep"))
    wait_until(lambda: slot.starts == 2)
    id = submit(jobs)
    order = slot.order(Run)

    assert (1, 0) == (order.errand.attempt, jobs.get(id).crashes)

    deliver(slot, order, outputs)
    ended(jobs, id)


def test_a_slot_prefers_the_model_it_ran_last(attendant, slot, jobs, outputs):
    """It is still in memory."""
    first = submit(jobs, affinity="mine")
    second = submit(jobs, affinity="other")
    third = submit(jobs, affinity="mine")
    attendant.start()
    orders = []
    for _ in range(3):
        orders.append(slot.order(Run))
        deliver(slot, orders[-1], outputs)
        ended(jobs, orders[-1].errand.job)

    assert [first, third, second] == [order.errand.job for order in orders]


def test_a_slot_that_says_nothing_about_a_cancel_is_killed(attendant, slot, jobs, monkeypatch):
    """The client has been told that its job is cancelled."""
    monkeypatch.setattr("server.dispatch.attendant.CANCEL_PATIENCE", 0.2)
    id = submit(jobs)
    attendant.start()
    slot.order(Run)
    jobs.cancel(id)
    slot.order(Cancel)

    assert cancelled() == ended(jobs, id).outcome
    assert 0 == jobs.get(id).crashes
