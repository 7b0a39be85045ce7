"""The messages between a server and its slots."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from server.dispatch.slot import (
    FROM_SLOT,
    TO_SLOT,
    Alive,
    Cancel,
    Cancelled,
    Done,
    Errand,
    Failed,
    Hello,
    Quit,
    Run,
    Said,
)
from server.endpoints import ENDPOINTS
from server.media.sources import provisional
from wan_local.events import Finished, FramesWritten, Stage, StageStarted, StepDone, Warned
from wan_local.geometry import Size

ERRAND = Errand(job="a", attempt=2)
FINISHED = Finished("/out/a.2.mp4", Size(112, 64), 17, 16.0, 2**63 - 1, {"load": 0.5}, "a fox")


FILES = {"image_url": "https://a/1.png", "video_url": "https://a/1.mp4"}


def plans():
    for endpoint in ENDPOINTS.values():
        wire = endpoint.input.model_validate({"prompt": "a fox"} | FILES)
        yield endpoint.plan(wire, 2**63 - 1, provisional(endpoint.needs(wire)))


@pytest.mark.parametrize("plan", list(plans()), ids=list(ENDPOINTS))
def test_a_plan_crosses_unchanged(plan):
    """What was planned is what is run, to the last bit of the seed; tuples stay tuples."""
    order = Run(errand=ERRAND, plan=plan, output="/out/a.2.mp4")

    assert order == TO_SLOT.validate_json(order.model_dump_json())


@pytest.mark.parametrize("order", [Cancel(errand=ERRAND), Quit()], ids=["cancel", "quit"])
def test_orders_cross_unchanged(order):
    """The message's `say` tells which it is."""
    assert order == TO_SLOT.validate_json(order.model_dump_json())


@pytest.mark.parametrize(
    "event",
    [
        StageStarted(Stage.LOAD),
        StepDone(3, 27),
        FramesWritten(41, 81),
        Warned("no safety checker here"),
        FINISHED,
    ],
    ids=lambda event: event.kind,
)
def test_events_cross_unchanged(event):
    """Each kind comes back as its own class, or the log would tell nothing."""
    said = Said(errand=ERRAND, event=event)

    assert said == FROM_SLOT.validate_json(said.model_dump_json())


DONE = Done(errand=ERRAND, finished=FINISHED, sha256="ab" * 32, size_bytes=7)


@pytest.mark.parametrize(
    "message",
    [
        Alive(idle_seconds=1.5),
        DONE,
        Failed(errand=ERRAND, error="InvalidPlan", message="no"),
        Cancelled(errand=ERRAND),
        Hello(slot="gpu0", pid=7, device="cpu"),
        Hello(slot="gpu0", pid=7, device="cpu", running=ERRAND),
        Hello(slot="gpu0", pid=7, device="cpu", ending=DONE),
    ],
    ids=lambda message: message.say,
)
def test_answers_cross_unchanged(message):
    """A hello carries the whole last ending: a restarted server has nothing else to go by."""
    assert message == FROM_SLOT.validate_json(message.model_dump_json())


def test_what_is_not_a_message_is_refused():
    """A slot of another release must not be half understood."""
    with pytest.raises(ValidationError):
        TO_SLOT.validate_json('{"say": "quit", "hard": true}')
    with pytest.raises(ValidationError):
        FROM_SLOT.validate_json('{"say": "sing"}')
