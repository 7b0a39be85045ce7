"""Runs of plans that ask for new frames between the generated ones."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from tests.wan_local.plans import T2V, a_plan
from wan_local.engine import open_engine
from wan_local.errors import WeightsMissing
from wan_local.events import FramesWritten
from wan_local.interpolation.rife import Rife, RifeLayout
from wan_local.plan import InterpolationSpec
from wan_local.video.probe import probe


@pytest.fixture
def engine(weights, tmp_path):
    """An engine with the small checkpoint and a small RIFE that nobody trained."""
    (tmp_path / T2V).symlink_to(weights / T2V)
    folder = tmp_path / "interpolation" / "rife"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    save_file(Rife(RifeLayout((8, 8, 8, 8))).state_dict(), folder / "rife.safetensors")
    engine = open_engine(tmp_path, "cpu")
    yield engine
    engine.close()


def plan(model, **changes):
    return a_plan(
        steps=1,
        num_frames=5,
        interpolation=InterpolationSpec(model=model, frames_between=2, **changes),
    )


@pytest.mark.parametrize(("adjust", "fps"), [(True, 48), (False, 16)])
def test_new_frames_are_in_the_video(engine, tmp_path, adjust, fps):
    """Two between each pair of five: thirteen, and the answer says so."""
    *events, finished = engine.run(plan("rife", adjust_fps=adjust), tmp_path / "a.mp4")
    info = probe(tmp_path / "a.mp4")

    assert (13, fps) == (info.num_frames, info.fps) == (finished.num_frames, finished.fps)
    assert {13} == {event.total for event in events if isinstance(event, FramesWritten)}
    assert frozenset() == engine.held


def test_a_run_without_its_interpolator_ends_in_a_sentence(engine, tmp_path):
    """The policy would have left it out; whoever asks the engine itself is told."""
    with pytest.raises(WeightsMissing, match="FILM is not on this machine"):
        list(engine.run(plan("film"), tmp_path / "a.mp4"))

    assert frozenset() == engine.held
    assert not (tmp_path / "a.mp4").exists()


def test_a_run_closed_between_new_frames_leaves_nothing(engine, tmp_path):
    """A cancel is heard between any two frames."""
    events = engine.run(plan("rife"), tmp_path / "a.mp4")
    for event in events:
        if isinstance(event, FramesWritten) and event.done == 6:
            break
    events.close()

    assert frozenset() == engine.held
    assert not list(tmp_path.glob("a.mp4*"))
