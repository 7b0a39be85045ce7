"""The training of small interpolators: the same bits again, also after an interruption."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from wan_local.interpolation.rife import Rife, RifeLayout
from weights.train import interpolators
from weights.train.interpolators import Course, Training, train
from weights.train.pupils import PUPILS

SHORT = Course(batch=2, small_crops=4, strict_flow=3)


@pytest.fixture
def pupil(monkeypatch):
    """A very small RIFE, four textures, two crops a step."""
    monkeypatch.setattr(interpolators, "TEXTURES", 4)
    monkeypatch.setattr(interpolators, "REPORT", 2)
    return replace(PUPILS["rife"], make=lambda: Rife(RifeLayout((8, 8, 8, 8))))


def run(pupil, folder, **changes):
    wishes = {"steps": 6, "decay": 2, "minutes": 5.0} | changes
    return train(Training(pupil, SHORT, seed=0), folder, **wishes)


def test_an_interrupted_run_ends_in_the_same_bits(pupil, tmp_path):
    """A machine that is switched off must not cost the proof of where weights come from."""
    run(pupil, tmp_path / "whole")
    while run(pupil, tmp_path / "halting", minutes=0.0) < 6:
        pass
    whole, halting = (
        load_file(tmp_path / name / "state.safetensors") for name in ("whole", "halting")
    )

    assert whole.keys() == halting.keys()
    assert all(torch.equal(tensor, halting[name]) for name, tensor in whole.items())


def test_a_run_can_stop_before_its_rate_has_fallen(pupil, tmp_path):
    """Two others go on from there, each to its end: what it has done so far is that of one."""
    run(pupil, tmp_path / "whole")
    stopped = [run(pupil, tmp_path / "stem", until=5) for _ in range(2)]
    run(pupil, tmp_path / "stem")
    whole, stem = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "stem"))

    assert [5, 5] == stopped
    assert all(torch.equal(tensor, stem[name]) for name, tensor in whole.items())


def test_a_finished_network_is_gone_on_with_at_its_step(pupil, tmp_path):
    """What it had learned, and the motion and the crops that it had come to."""
    run(pupil, tmp_path / "first", steps=4)
    first = load_file(tmp_path / "first" / "model.safetensors")
    training = Training(pupil, SHORT, seed=1)
    training.begin(tmp_path / "first")

    assert 4 == training.done
    assert all(torch.equal(t, first[n].float()) for n, t in training.net.state_dict().items())
    assert 6 == run(pupil, tmp_path / "second", start=tmp_path / "first")
    second = load_file(tmp_path / "second" / "model.safetensors")
    assert any(not torch.equal(tensor, first[name]) for name, tensor in second.items())


def test_another_seed_is_another_network(pupil, tmp_path):
    """Or the seed would mean nothing."""
    one, two = (next(Training(pupil, SHORT, seed).steps(1, 1))[1].middle for seed in (0, 1))

    assert not torch.equal(one, two)


def test_the_curve_and_the_model_are_kept(pupil, tmp_path):
    """A line for every so many steps; the model in half precision, under RIFE's names."""
    run(pupil, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    model = load_file(tmp_path / "model.safetensors")

    assert [2, 4, 6] == [line["step"] for line in lines]
    assert {torch.float16} == {tensor.dtype for tensor in model.values()}
    assert Rife(RifeLayout((8, 8, 8, 8))).state_dict().keys() == model.keys()


def test_the_course_grows_and_then_falls():
    """Motion grows, crops grow, the rate falls at the end and only there."""
    course = Course()
    shifts = [course.difficulty(step).shift for step in range(0, course.full_motion, 300)]

    assert shifts == sorted(set(shifts))
    assert (8, 64) == course.crop(0)
    assert (4, 96) == course.crop(course.small_crops) == course.crop(50_000)
    assert (1, 192) == Course(large_crops=24_000).crop(24_000)
    assert course.share_of_rate(8999, 12_000, 3000) == 1
    assert course.share_of_rate(12_000, 12_000, 3000) == pytest.approx(0.02)
    assert 0.3 < course.share_of_rate(16_000, 31_000, 37_500) < 0.4, "gentle with what is learned"


def test_the_average_is_as_long_as_the_rate_is_constant():
    """One that lags behind a fast fall is no average of finished weights; a short one is noise."""
    share = Course().share_of_average

    assert share(0, 12_000, 3000) == share(11_000, 12_000, 3000) == 0.01
    assert share(8999, 12_000, 3000) == 0.001
    assert share(16_000, 31_000, 37_500) == 0.001
    assert share(10_000, 12_000, 7000) == pytest.approx(0.005)
