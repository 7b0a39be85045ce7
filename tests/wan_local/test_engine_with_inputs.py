"""Plans that come with pictures and videos, on the CPU."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.wan_local.plans import I2V, TI2V, a_plan
from tests.watching import children
from wan_local.engine import open_engine
from wan_local.events import ComponentLoaded, FramesRead, Stage, StageStarted, StepDone, Warned
from wan_local.geometry import Size
from wan_local.plan import PictureSpec, PromptSpec, SourceFile, StartSpec


def of_kind(kind, events):
    return [event for event in events if isinstance(event, kind)]


def stages(events):
    return [event.stage for event in of_kind(StageStarted, events)]


def source(path):
    return SourceFile(path=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def fresh(weights):
    """An engine that has loaded nothing yet."""
    engine = open_engine(weights, "cpu")
    yield engine
    engine.close()


@pytest.fixture
def picture(tmp_path):
    """A picture of coloured noise, larger than the plan."""
    path = tmp_path / "picture.png"
    levels = np.random.default_rng(0).integers(0, 256, (120, 100, 3), np.uint8)
    Image.fromarray(levels).save(path)
    return source(path)


def test_a_plan_with_a_picture_visits_one_stage_more(engine, tmp_path, picture):
    """Encoding 81 frames takes seconds: they are told, and a cancel is heard among them."""
    plan = a_plan(model=I2V, boundary=0.9, first_frame=picture, steps=1)
    events = list(engine.run(plan, tmp_path / "a.mp4"))
    again = list(engine.run(replace(plan, prompt=PromptSpec(text="b")), tmp_path / "b.mp4"))

    assert [Stage.PROMPT, Stage.CONDITION, Stage.DENOISE, Stage.DECODE] == stages(events)[-4:]
    assert [1, 5, 9] == [event.done for event in of_kind(FramesRead, events)]
    assert [] == of_kind(FramesRead, again)  # the same picture is known by now
    assert Stage.CONDITION in stages(again)
    assert (tmp_path / "a.mp4").read_bytes() != (tmp_path / "b.mp4").read_bytes()


def test_a_cancel_while_a_picture_is_encoded_frees_everything(engine, tmp_path, picture):
    """The child that decodes the file ends with the run."""
    plan = a_plan(model=I2V, boundary=0.9, first_frame=picture, num_frames=5)
    run = engine.run(plan, tmp_path / "a.mp4")
    while not isinstance(next(run), FramesRead):
        pass
    run.close()

    assert frozenset() == engine.held
    assert [] == children()
    assert ["picture.png"] == [path.name for path in tmp_path.iterdir()]


def test_an_encoded_picture_is_remembered_exactly(engine, fresh, tmp_path, picture):
    """Warm or cold, a seed and a picture are the same video."""
    plan = a_plan(model=TI2V, boundary=None, size=Size(64, 64), first_frame=picture, steps=2)
    for name, one in (("warm", engine), ("warmer", engine), ("cold", fresh)):
        list(one.run(plan, tmp_path / name))

    assert (tmp_path / "warm").read_bytes() == (tmp_path / "warmer").read_bytes()
    assert (tmp_path / "warm").read_bytes() == (tmp_path / "cold").read_bytes()


def test_a_start_runs_the_last_steps_only(engine, tmp_path, picture):
    """Half the strength is half the steps; progress counts those that are run."""
    start = StartSpec(file=picture, strength=0.5)
    plan = a_plan(start=start, num_frames=1, picture=PictureSpec(format="png"), steps=4)
    events = list(engine.run(plan, tmp_path / "a.png"))

    assert [StepDone(1, 2), StepDone(2, 2)] == of_kind(StepDone, events)
    with Image.open(tmp_path / "a.png") as image:
        assert ("PNG", (64, 48)) == (image.format, image.size)


def test_an_expert_that_takes_no_step_is_not_loaded(fresh, tmp_path, picture):
    """28.6 GB of host memory, for a picture that is changed a little."""
    start = StartSpec(file=picture, strength=0.25)
    plan = a_plan(start=start, num_frames=1, picture=PictureSpec(format="png"), steps=4)
    events = list(fresh.run(plan, tmp_path / "a.png"))
    later = list(fresh.run(replace(plan, start=None), tmp_path / "b.png"))

    assert [("text_encoder", 1, 3), ("transformer_2", 2, 3), ("vae", 3, 3)] == [
        (event.component, event.number, event.total) for event in of_kind(ComponentLoaded, events)
    ]
    assert ["transformer"] == [event.component for event in of_kind(ComponentLoaded, later)]


def test_a_video_that_is_too_short_is_said_each_time(engine, tmp_path):
    """Also when its latents could have been remembered."""
    list(engine.run(a_plan(num_frames=1, steps=1), tmp_path / "short.mp4"))
    file = source(tmp_path / "short.mp4")
    plan = a_plan(start=StartSpec(file=file, strength=1), steps=1, num_frames=5)
    for name in ("a.mp4", "b.mp4"):
        said = [event.message for event in of_kind(Warned, engine.run(plan, tmp_path / name))]

        assert "the video has 4 frames too few: its last one is held for them" in said
