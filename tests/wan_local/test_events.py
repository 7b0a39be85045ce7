"""Events cross a socket as JSON and must come back as themselves."""

from __future__ import annotations

import dataclasses
import json
from typing import get_args

import pytest

from wan_local.events import (
    ComponentLoaded,
    Event,
    Finished,
    FramesRead,
    FramesWritten,
    Noted,
    Previewed,
    Stage,
    StageStarted,
    StepDone,
    TokensWritten,
    Warned,
)
from wan_local.geometry import Size

EVENTS = [
    StageStarted(Stage.DENOISE),
    ComponentLoaded("vae", 4, 4),
    TokensWritten(7, 512),
    FramesRead(5),
    StepDone(3, 27),
    Previewed(3, 27, "/9j/"),
    FramesWritten(5, 81),
    Warned("none added"),
    Noted("60 of 60 keys"),
    Finished("a.mp4", Size(64, 48), 81, 16.0, 7, {"denoise": 1.5}, "a cat"),
]


def test_every_kind_of_event_is_looked_at_here():
    """A new event joins the list above."""
    assert set(get_args(Event)) == {type(event) for event in EVENTS}


def test_kinds_tell_events_apart():
    """Two events of one kind could not be read back."""
    assert len(EVENTS) == len({event.kind for event in EVENTS})


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_an_event_survives_json(event):
    """Progress comes from another process, as text."""
    value = json.loads(json.dumps(dataclasses.asdict(event)))

    assert event.kind == value["kind"]
    if isinstance(event, Finished):
        value["size"] = Size(**value["size"])
    assert event == type(event)(**value)


def test_stages_are_listed_in_travel_order():
    """Logs and timings show them in this order."""
    travelled = ["check", "expand", "load", "prompt", "condition", "denoise", "decode"]
    assert travelled == list(Stage)
