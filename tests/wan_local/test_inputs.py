"""What comes with a plan is read, cut to size and, where it is too short, held."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.wan_local.plans import I2V, TI2V, a_plan
from wan_local.errors import BadMedia
from wan_local.geometry import Size
from wan_local.inputs import Footage
from wan_local.plan import EncodingSpec, PictureSpec, SourceFile, StartSpec
from wan_local.video.writer import VideoWriter

SIZE = Size(64, 48)


def source(path):
    return SourceFile(path=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def grey(tmp_path):
    """A function that writes a picture of one grey and returns it as a source."""

    def write(level, size=SIZE):
        path = tmp_path / f"{level}.png"
        Image.fromarray(np.full((size.height, size.width, 3), level, np.uint8)).save(path)
        return source(path)

    return write


@pytest.fixture
def film(tmp_path):
    """A video of six frames at 8 frames a second, each brighter than the one before."""
    path = tmp_path / "film.mp4"
    levels = torch.arange(6).mul(40).byte().view(6, 1, 1, 1).expand(6, 48, 64, 3)
    with VideoWriter(path, SIZE, fps=8, encoding=EncodingSpec(quality="maximum")) as video:
        video.write(levels.contiguous())
    return source(path)


def greys(footage):
    """Return the brightness of each frame, 0 to 255."""
    return [round(float(frame.mean()) * 127.5 + 127.5) for frame in footage]


def test_a_first_and_a_last_picture_have_grey_between_them(grey):
    """What nothing is known of is grey, in the 4k+1 frames that the VAE takes."""
    plan = a_plan(model=I2V, boundary=0.9, first_frame=grey(200), last_frame=grey(10))

    assert [200, *[128] * 7, 10] == greys(Footage(plan, SIZE))


def test_a_5b_model_gets_its_picture_alone(grey):
    """Whatever the length of the video."""
    plan = a_plan(model=TI2V, boundary=None, size=Size(64, 64), first_frame=grey(200))

    assert [200] == greys(Footage(plan, Size(64, 64)))


def test_a_picture_to_start_from_is_one_frame(grey):
    """Image to image."""
    start = StartSpec(file=grey(30, Size(200, 90)), strength=0.5)
    plan = a_plan(num_frames=1, picture=PictureSpec(), start=start)
    [frame] = Footage(plan, SIZE)

    assert (1, 3, 1, 48, 64) == tuple(frame.shape)
    assert [30] == greys([frame])


def test_a_video_is_read_frame_by_frame_and_cut(film):
    """And no further than the frames that are asked for."""
    plan = a_plan(num_frames=5, start=StartSpec(file=film, strength=0.5))
    footage = Footage(plan, Size(32, 32))
    frames = list(footage)

    assert [0, 40, 80, 120, 160] == pytest.approx(greys(frames), abs=3)
    assert {(1, 3, 1, 32, 32)} == {tuple(frame.shape) for frame in frames}
    assert 0 == footage.missing


def test_a_video_can_be_read_at_another_rate(film):
    """16 frames a second of a video of 8 shows each of them twice."""
    plan = a_plan(num_frames=5, start=StartSpec(file=film, strength=0.5, fps=16))

    assert [0, 0, 40, 40, 80] == pytest.approx(greys(Footage(plan, SIZE)), abs=3)


def test_a_video_that_is_too_short_is_held_and_counted(film):
    """The client is told; it may want the shorter video instead."""
    plan = a_plan(num_frames=9, start=StartSpec(file=film, strength=0.5))
    footage = Footage(plan, SIZE)

    assert [0, 40, 80, 120, 160, 200, 200, 200, 200] == pytest.approx(greys(footage), abs=3)
    assert 3 == footage.missing


def test_the_surplus_of_the_vae_is_not_missed(film):
    """Six frames are asked for and there; the three that round them up are cut off again."""
    plan = a_plan(num_frames=6, start=StartSpec(file=film, strength=0.5))
    footage = Footage(plan, SIZE)

    assert 9 == len(list(footage))
    assert 0 == footage.missing


def test_nothing_is_read_before_a_frame_is_asked_for(grey, tmp_path):
    """The key is looked up first: a picture that was encoded already is not decoded again."""
    plan = a_plan(model=I2V, boundary=0.9, first_frame=grey(200))
    footage = Footage(plan, SIZE)
    (tmp_path / "200.png").write_bytes(b"no picture")

    assert footage.key
    with pytest.raises(BadMedia):
        next(iter(footage))


def test_the_key_is_what_decides_the_latents(grey, film):
    """A cache that mixed two of them up would show one client the other's picture."""
    one = a_plan(model=I2V, boundary=0.9, first_frame=grey(1))
    start = a_plan(start=StartSpec(file=film, strength=0.5))
    others = [
        replace(one, first_frame=grey(2)),
        replace(one, last_frame=grey(2)),
        replace(one, last_frame=grey(1)),
        replace(one, num_frames=10),
        start,
        replace(start, start=StartSpec(file=film, strength=0.5, fps=16)),
    ]
    keys = {Footage(plan, SIZE).key for plan in [one, *others]}

    assert 1 + len(others) == len(keys)
    assert Footage(one, Size(32, 32)).key not in keys
    elsewhere = replace(grey(1), path="/another/name.png")
    assert Footage(one, SIZE).key == Footage(replace(one, first_frame=elsewhere), SIZE).key
    weaker = replace(start, start=StartSpec(file=film, strength=0.3))
    assert Footage(start, SIZE).key == Footage(weaker, SIZE).key
