"""The trained checkpoint that a newcomer meets first."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from wan_local.models.weights import find_checkpoint, small_checkpoint
from wan_local.plan import PromptSpec
from weights.train.asking import I2V, T2V, TI2V, Studio, a_plan, said
from weights.train.clips import Scene
from weights.train.measures import pictured, styled
from weights.train.reader import read
from weights.train.styles import TAUGHT

MINI = Path(__file__).parents[2] / "weights" / "mini"


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    return Studio(MINI, tmp_path_factory.mktemp("requests"))


@pytest.mark.parametrize("model", [T2V, TI2V])
@pytest.mark.parametrize(
    "scene",
    [
        Scene("green", "circle", "moving right", "quickly", "black"),
        Scene("magenta", "square", "growing", "quickly", "navy"),
    ],
    ids=lambda scene: scene.caption,
)
def test_it_shows_what_the_prompt_says(studio, scene, model):
    """Read off the pixels; every weight, the text side and the sampler have a part in it."""
    seen = read(studio.clip(a_plan(model, said(scene), 1, 17)) * 2 - 1)

    assert (scene.colour, scene.motion) == (seen.colour, seen.motion)


def test_another_colour_is_another_video(studio):
    """The same noise, and one word changed."""
    plan = a_plan(T2V, PromptSpec(text="a red square"), 3, 5, steps=8)
    blue = replace(plan, prompt=PromptSpec(text="a blue square"))

    assert ["red", "blue"] == [read(studio.clip(p) * 2 - 1).colour for p in (plan, blue)]


@pytest.mark.parametrize(("model", "last"), [(I2V, False), (I2V, True), (TI2V, False)])
def test_a_video_begins_and_ends_with_the_pictures_it_is_given(model, last, studio):
    """Held-out clips; of 20, the worst first frame is at 27.3 dB, and at 31.3 of the 5B kind."""
    kept = pictured(studio, 2, 17, model=model, last=last)

    assert kept["worst first, dB"] > 26
    if last:
        assert kept["worst last, dB"] > 22


@pytest.mark.parametrize("style", TAUGHT)
def test_a_style_comes_with_its_lora_and_goes_without_a_trace(style, studio):
    """In the layout and the number of files that its row in STYLES names."""
    found = styled(studio, 2, 17, style=style, folder=MINI / "loras" / "styles")

    assert found["without"] < 0.1 < 0.2 < found["with"]
    assert found["bit-equal afterwards"]


def test_it_is_never_taken_for_the_published_one():
    """It says so itself."""
    checkpoint = small_checkpoint(find_checkpoint(MINI, T2V))

    assert "wan2.2-t2v-a14b-mini (trained on drawn shapes)" == checkpoint.title


def test_it_is_small_enough_for_everybodys_clone():
    """Git keeps what several checkpoints share once, and everything compressed."""
    contents = {path.read_bytes() for path in MINI.rglob("*") if path.is_file()}

    assert sum(len(zlib.compress(content, 1)) for content in contents) < 40e6
