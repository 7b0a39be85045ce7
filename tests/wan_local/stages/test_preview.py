"""Half-done latents as pictures."""

from __future__ import annotations

import base64
import io

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from PIL import Image
from safetensors.torch import save_file

from tests.wan_local.models.test_taehv import published
from wan_local.errors import BadCheckpoint
from wan_local.events import Previewed, StepDone, Warned
from wan_local.models.taehv import TinyDecoder
from wan_local.stages.preview import (
    WatchedSolver,
    draw,
    open_decoder,
    to_jpeg,
    with_previews,
)

CPU = torch.device("cpu")
CLEAN = torch.randn(1, 16, 3, 6, 8, generator=torch.Generator().manual_seed(0))
NOISE = torch.randn(1, 16, 3, 6, 8, generator=torch.Generator().manual_seed(1))


def solver(steps=4):
    """Return Euler's method, watched."""
    euler = FlowMatchEulerDiscreteScheduler(shift=5.0)
    euler.set_timesteps(steps)
    euler.set_begin_index(0)
    return WatchedSolver(euler), euler.timesteps


def denoising(watched, timesteps):
    """Walk the straight line from NOISE to CLEAN, as a perfect model would."""
    latents = NOISE
    for step, timestep in enumerate(timesteps, 1):
        latents = watched.step(NOISE - CLEAN, timestep, latents, return_dict=False)[0]
        yield StepDone(step, len(timesteps))
    return latents


def run(every, decoder=None, steps=4):
    watched, timesteps = solver(steps)
    stream = with_previews(denoising(watched, timesteps), watched, decoder, every=every)
    events = []
    while True:
        try:
            events.append(next(stream))
        except StopIteration as end:
            return events, end.value


def opened(previewed):
    content = base64.b64decode(previewed.jpeg)
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("taken", [1, 2, 4])
def test_a_model_that_is_never_wrong_shows_the_end_at_every_step(taken):
    """Along a straight line each point knows where it ends; a wrong sign would show noise."""
    watched, timesteps = solver()
    steps = denoising(watched, timesteps)
    for _ in range(taken):
        next(steps)

    assert (watched.estimate() - CLEAN).abs().max() <= 1e-5


def test_pictures_come_after_their_steps_and_the_latents_at_the_end():
    """And nothing else changes: the same steps, the same latents."""
    events, latents = run(every=2)

    kinds = [(type(event), event.step) for event in events]
    assert [
        (StepDone, 1),
        (StepDone, 2),
        (Previewed, 2),
        (StepDone, 3),
        (StepDone, 4),
        (Previewed, 4),
    ] == kinds
    assert (latents - CLEAN).abs().max() <= 1e-5


def test_closing_it_closes_the_denoising():
    """A cancel has to reach the expert that is held."""
    watched, timesteps = solver()
    steps = denoising(watched, timesteps)
    stream = with_previews(steps, watched, None, every=1)
    next(stream)
    stream.close()

    assert steps.gi_frame is None


def test_a_picture_is_a_jpeg_with_the_shape_of_the_video():
    """Wide stays wide; 256 pixels are enough to see where it is going."""
    first = next(event for event in run(every=1)[0] if isinstance(event, Previewed))
    image = opened(first)

    assert ("JPEG", (256, 192)) == (image.format, image.size)


def test_the_worst_picture_stays_within_the_limit():
    """A line of the slot's protocol carries it, and the server keeps one for each running job."""
    noise = torch.rand(256, 256, 3, generator=torch.Generator().manual_seed(0)).round()

    assert len(to_jpeg(noise)) <= 64 * 1024


def test_the_middle_frame_is_shown():
    """In the first one nothing has happened yet."""
    latents = torch.zeros(1, 16, 5, 4, 4)
    latents[:, :, 2] = 3.0

    assert not torch.equal(draw(latents, None), draw(torch.zeros_like(latents), None))
    latents[:, :, 2] = 0.0
    latents[:, :, [0, 1, 3, 4]] = 3.0
    assert torch.equal(draw(latents, None), draw(torch.zeros_like(latents), None))


@pytest.fixture
def with_decoder(tmp_path):
    """A weights directory with a tiny decoder of random weights in it."""
    (tmp_path / "previews").mkdir()
    save_file(published(16, 1), tmp_path / "previews" / "taew2_1.safetensors")
    return tmp_path


def test_the_tiny_decoder_draws_where_it_is_present(with_decoder):
    """Four times as fine as the matrix, on each side."""
    decoder = open_decoder(with_decoder, 16, CPU)
    events, _ = run(every=4, decoder=decoder)

    assert (24, 32, 3) == draw(CLEAN, decoder).shape
    assert (256, 192) == opened(events[-1]).size


def test_a_still_picture_has_one_latent_frame(with_decoder):
    """Text to image asks for no frame before the middle one."""
    still = CLEAN[:, :, :1]

    assert (6, 8, 3) == draw(still, None).shape
    assert (24, 32, 3) == draw(still, open_decoder(with_decoder, 16, CPU)).shape


def test_without_its_file_there_is_no_decoder(tmp_path, with_decoder):
    """The matrix draws then; previews need no download."""
    assert None is open_decoder(tmp_path / "empty", 16, CPU)
    assert None is open_decoder(with_decoder, 48, CPU)


def test_a_broken_file_is_said(with_decoder):
    """It is there, so somebody wants it used."""
    (with_decoder / "previews" / "taew2_1.safetensors").write_bytes(b"<html>")

    with pytest.raises(BadCheckpoint, match=r"taew2_1\.safetensors cannot be read"):
        open_decoder(with_decoder, 16, CPU)


class Hungry(TinyDecoder):
    """A decoder that does not fit."""

    def frames(self, latents):
        raise torch.OutOfMemoryError


def test_a_preview_that_does_not_fit_costs_no_video():
    """Said once; the steps go on."""
    events, latents = run(every=1, decoder=Hungry(16, 1))

    warnings = [event.message for event in events if isinstance(event, Warned)]
    assert ["the device has no memory left for previews: there will be no more of them"] == warnings
    assert [1, 2, 3, 4] == [event.step for event in events if isinstance(event, StepDone)]
    assert (latents - CLEAN).abs().max() <= 1e-5
