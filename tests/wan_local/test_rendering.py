"""From latents to a file in one stream, and how it ends in the middle."""

from __future__ import annotations

import gc
import io
import itertools
import time
import weakref
import zipfile
from dataclasses import replace
from functools import partial

import av
import numpy as np
import pytest
import torch
from PIL import Image

from tests.wan_local.plans import a_plan
from tests.watching import children, watch
from wan_local.errors import EncodingFailed, WanLocalError
from wan_local.events import FramesWritten
from wan_local.geometry import Size
from wan_local.interpolation.pairs import Interpolator
from wan_local.interpolation.rife import Rife, RifeLayout
from wan_local.interpolation.stream import interpolated
from wan_local.plan import EncodingSpec, InterpolationSpec, PictureSpec
from wan_local.rendering import Clip, Spool, render, to_host, to_levels
from wan_local.stages.decode import decode_pictures
from wan_local.video.probe import probe

BEST = EncodingSpec(quality="maximum")


def latents(frames=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 16, frames, 6, 8, generator=generator)


def rendered(vae, z, plan, output, **how):
    """Return the events and the clip."""
    run, events = render(vae, z, plan, output, **how), []
    while True:
        try:
            events.append(next(run))
        except StopIteration as end:
            return events, end.value


def doubled(pictures):
    """Stand in for a net: the mean of two neighbours, one picture at a time."""
    singles = itertools.chain.from_iterable(chunk.split(1) for chunk in pictures)
    before = next(singles)
    yield before
    for picture in singles:
        yield (before + picture) / 2
        yield picture
        before = picture


DOUBLE = InterpolationSpec(model="rife", frames_between=1)


def test_the_file_shows_what_the_vae_decodes(vae, tmp_path):
    """The stream is a way of decoding, not another decoder."""
    _, clip = rendered(vae, latents(), a_plan(encoding=BEST), tmp_path / "a.mp4")
    whole = torch.cat(list(decode_pictures(vae, latents(), num_frames=9)))

    assert Clip(Size(64, 48), 9, 16) == clip
    seen = watch(tmp_path / "a.mp4").astype(float)
    # Brightness only: random weights make colours flicker by the pixel, which 4:2:0 halves.
    luma = np.array([0.2126, 0.7152, 0.0722])
    assert np.abs(seen @ luma - to_levels(whole).numpy() @ luma).mean() < 2


@pytest.mark.parametrize("reverse", [False, True])
def test_a_plan_for_a_picture_makes_a_picture(vae, tmp_path, reverse):
    """One frame, and no ffmpeg; turned round, it is the same."""
    plan = a_plan(num_frames=1, picture=PictureSpec(format="png"), reverse=reverse)
    events, clip = rendered(vae, latents(1), plan, tmp_path / "a.png")
    [frame] = decode_pictures(vae, latents(1), num_frames=1)

    assert Clip(Size(64, 48), 1, 16) == clip
    assert FramesWritten(1, 1) == events[-1]
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(to_levels(frame)[0].numpy(), np.array(image))
    assert ["a.png"] == [path.name for path in tmp_path.iterdir()]


def test_progress_counts_the_frames_of_the_file(vae, tmp_path):
    """A client's bar ends at the number it will find in the answer."""
    events, _ = rendered(vae, latents(), a_plan(), tmp_path / "a.mp4")

    assert {9} == {event.total for event in events}
    assert [1, 5, 9] == sorted({event.done for event in events})


@pytest.mark.parametrize(("adjust", "fps"), [(True, 32), (False, 16)])
def test_new_frames_are_in_the_file_and_in_its_rate(vae, tmp_path, adjust, fps):
    """Twice the frames: twice the rate, or twice the length, as the client says."""
    plan = a_plan(interpolation=replace(DOUBLE, adjust_fps=adjust))
    _, clip = rendered(vae, latents(), plan, tmp_path / "a.mp4", smoothing=doubled)
    info = probe(tmp_path / "a.mp4")

    assert (17, fps) == (clip.num_frames, clip.fps)
    assert (17, fps) == (info.num_frames, info.fps)


@pytest.mark.parametrize("smoothing", [None, doubled])
def test_a_reversed_video_is_the_video_from_its_end(vae, tmp_path, smoothing):
    """To the frame: what was last is first, with what stands between them."""
    between = DOUBLE if smoothing else None
    plan = a_plan(encoding=BEST, interpolation=between)
    rendered(vae, latents(), plan, tmp_path / "a.mp4", smoothing=smoothing)
    events, clip = rendered(
        vae, latents(), replace(plan, reverse=True), tmp_path / "b.mp4", smoothing=smoothing
    )
    there, back = watch(tmp_path / "a.mp4"), watch(tmp_path / "b.mp4")

    assert there.shape == back.shape
    assert clip.num_frames == len(back) == events[-1].done
    # Encoded in another order, so not to the bit.
    assert np.abs(there.astype(float) - back[::-1]).mean() < 6
    assert np.abs(there.astype(float) - back).mean() > 20


def test_a_deep_format_gets_more_than_eight_bits_from_the_vae(vae, tmp_path):
    """The decoder computes in floats; rounding them to 8 bits first would be 8 bits for ever."""
    seen = []

    class Check:
        def look(self, frames):
            seen.append(frames)

    plan = a_plan(encoding=EncodingSpec(format="ffv1"))
    rendered(vae, latents(), plan, tmp_path / "a.mkv", check=Check())
    with av.open(str(tmp_path / "a.mkv")) as container:
        frames = np.stack([f.to_ndarray(format="rgb48le") for f in container.decode(video=0)])
    whole = torch.cat(list(decode_pictures(vae, latents(), num_frames=9)))

    assert np.array_equal(to_levels(whole, 65535).numpy(), frames)
    assert {torch.uint8} == {chunk.dtype for chunk in seen}
    assert np.array_equal(frames >> 8, torch.cat(seen).numpy())


@pytest.mark.parametrize("reverse", [False, True])
def test_a_sequence_of_pictures_is_a_zip_of_them(vae, tmp_path, reverse):
    """Whether forwards or back, numbered as they are shown."""
    plan = a_plan(encoding=EncodingSpec(format="png16"), reverse=reverse)
    _, clip = rendered(vae, latents(), plan, tmp_path / "a.zip")
    whole = to_levels(torch.cat(list(decode_pictures(vae, latents(), num_frames=9))), 65535)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        last = archive.read("frame.0009.png")

    assert 9 == clip.num_frames
    with av.open(io.BytesIO(last), format="png_pipe") as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb48le")
    assert np.array_equal(whole[0 if reverse else -1].numpy(), picture)


def test_a_check_sees_every_frame_of_the_file(vae, tmp_path):
    """What it has not seen must not get out: interpolated frames too."""
    seen = []

    class Check:
        def look(self, frames):
            seen.append(len(frames))

    plan = a_plan(interpolation=DOUBLE)
    rendered(vae, latents(), plan, tmp_path / "a.mp4", smoothing=doubled, check=Check())

    assert 17 == sum(seen)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_refusal_leaves_no_file(vae, tmp_path, reverse):
    """The frames before the refused one are as little to be had as that one."""

    class Refused(WanLocalError):
        pass

    class Check:
        def __init__(self):
            self.chunks = 0

        def look(self, frames):
            self.chunks += 1
            if self.chunks == 3:
                raise Refused

    with pytest.raises(Refused):
        rendered(vae, latents(), a_plan(reverse=reverse), tmp_path / "a.mp4", check=Check())

    assert [] == list(tmp_path.iterdir())
    assert [] == children()


@pytest.mark.parametrize("reverse", [False, True])
def test_closing_at_any_event_leaves_nothing(vae, tmp_path, reverse):
    """In decoding, in interpolation, in encoding; and it does not take a second."""
    plan = a_plan(reverse=reverse, interpolation=DOUBLE)
    events, _ = rendered(vae, latents(), plan, tmp_path / "a.mp4", smoothing=doubled)
    (tmp_path / "a.mp4").unlink()
    for stop in range(1, len(events)):
        run = render(vae, latents(), plan, tmp_path / "a.mp4", smoothing=doubled)
        for _ in range(stop):
            next(run)
        run.close()

        assert [] == list(tmp_path.iterdir()), f"after event {stop}"
        assert [] == children(), f"after event {stop}"


def test_a_cancel_is_heard_while_the_encoder_is_behind(vae, tmp_path, monkeypatch):
    """An encoder that takes no frames must not hold the GPU: there is an event to close at."""
    stuck = tmp_path / "stuck"
    stuck.write_text("#!/bin/sh\nexec sleep 1000\n")
    stuck.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(stuck))
    run = render(vae, latents(frames=9), a_plan(num_frames=33), tmp_path / "a.mp4")
    heard = [next(run) for _ in range(12)]
    began = time.monotonic()
    run.close()

    assert heard[-1] == heard[-2]  # it waits, and says so
    assert time.monotonic() - began < 1
    assert [stuck] == list(tmp_path.iterdir())
    assert [] == children()


def test_memory_does_not_grow_with_the_number_of_frames(vae, tmp_path):
    """A few chunks are on their way at any time, however long the video."""
    made = []

    class Watching:
        def look(self, frames):
            made.append(weakref.ref(frames))

    most = 0
    for _ in render(vae, latents(40), a_plan(num_frames=157), tmp_path / "a.mp4", check=Watching()):
        most = max(most, sum(chunk() is not None for chunk in made))

    assert 40 == len(made)
    assert most <= 5  # two waiting, one in ffmpeg's pipe, one in hand, and its successor


def bytes_held():
    """All tensors that anyone here can still reach, what they share counted once."""
    # By type(), not isinstance(): that would wake lazy modules that stand about among the objects.
    tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]
    storages = (tensor.untyped_storage() for tensor in tensors)
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


@pytest.mark.parametrize("reverse", [False, True])
def test_memory_does_not_grow_with_the_frames_between_either(vae, tmp_path, reverse):
    """With a real network between decoder and encoder, which remembers the frames it has seen."""
    torch.manual_seed(0)
    network = Rife(RifeLayout((8, 8, 8, 8))).eval().requires_grad_(requires_grad=False)
    most = {}
    for chunks in (8, 20):
        z = latents(chunks)
        plan = a_plan(num_frames=4 * chunks - 3, interpolation=DOUBLE, reverse=reverse)
        smoothing = partial(interpolated, interpolator=Interpolator(network), frames_between=1)
        gc.collect()
        before = bytes_held()
        events = render(vae, z, plan, tmp_path / "a.mp4", smoothing=smoothing)
        # A look at every object there is takes its time. What is held depends on the place in a
        # chunk, which is eight events: every seventh sees each of them.
        most[chunks] = max(bytes_held() - before for _ in itertools.islice(events, 0, None, 7))

    frame = 64 * 48 * 3
    assert most[8] > 4 * frame  # it does see what is under way
    # What grows are copies of the latents, a sixth of a frame of bytes for each of 48 frames more.
    assert most[20] - most[8] < 48 * frame / 2


def test_a_spool_gives_frames_back_from_its_end(tmp_path):
    """Chunks of different lengths, as the VAE makes them."""
    frames = torch.arange(9 * 4 * 6 * 3).to(torch.uint8).view(9, 4, 6, 3)
    with Spool(tmp_path) as spool:
        for chunk in frames.split([1, 4, 4]):
            spool.add(chunk)
        assert [] == list(tmp_path.iterdir())
        back = torch.cat(list(spool.last_to_first()))

    assert torch.equal(frames.flip(0), back)


def test_a_spool_without_a_disk_is_a_sentence(tmp_path):
    """The output folder was deleted, or is full."""
    with (
        pytest.raises(EncodingFailed, match="reversed video could not be kept"),
        Spool(tmp_path / "gone"),
    ):
        pass


def test_pictures_are_rounded_and_not_cut_off():
    """Whole levels survive exactly, and what lies between goes to the nearer one."""
    grey = (torch.arange(256) / 255).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    levels = to_levels(grey)

    assert torch.equal(torch.arange(256).byte().view(16, 16), levels[0, :, :, 1])
    assert 200 == to_levels(torch.full((1, 3, 1, 1), 199.6 / 255))[0, 0, 0, 0]
    assert levels.is_contiguous()


def test_values_past_the_range_do_not_wrap_round():
    """An overshoot of white is white, not black; nets overshoot."""
    levels = to_levels(torch.tensor([-0.1, 1.1]).view(1, 1, 1, 2).expand(1, 3, 1, 2))

    assert [0, 255] == levels[0, 0, :, 0].tolist()


def test_on_the_cpu_there_is_nothing_to_cross():
    """No copy, and no chunk held back."""
    chunk = torch.zeros(1, 2, 2, 3, dtype=torch.uint8)

    assert chunk is next(to_host([chunk]))
