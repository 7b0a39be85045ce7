"""Encoding as a stream gives what encoding at once gives."""

from __future__ import annotations

import pytest
import torch

from tests.wan_local.plans import T2V, TI2V
from wan_local.events import FramesRead
from wan_local.models.loading import load_component
from wan_local.stages.decode import denormalize
from wan_local.stages.encode import encode_frames, normalize


@pytest.fixture(params=[T2V, TI2V], ids=["of A14B", "of 5B"])
def either_vae(request, weights):
    return load_component(weights / request.param, "vae", torch.float32)


def video(frames, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, 3, frames, 48, 64, generator=generator) * 2 - 1


def one_by_one(pixels):
    return pixels.split(1, dim=2)


def finish(stream):
    told = []
    while True:
        try:
            told.append(next(stream))
        except StopIteration as end:
            return told, end.value


def at_once(vae, pixels):
    with torch.no_grad():
        return normalize(vae, vae.encode(pixels).latent_dist.mode())


@pytest.mark.parametrize("frames", [1, 5, 13])
def test_the_latents_are_those_of_the_whole_to_the_bit(either_vae, frames):
    """A request of 161 frames is not 1.8 GB of float32 on the card at once."""
    told, latents = finish(encode_frames(either_vae, one_by_one(video(frames))))

    assert torch.equal(at_once(either_vae, video(frames)), latents)
    assert [FramesRead(done) for done in range(1, frames + 1, 4)] == told


def test_frames_are_asked_for_as_they_are_needed(either_vae):
    """The file is read while the device works, and a cancel stops the reading."""
    taken = []

    def reading():
        for frame in one_by_one(video(9)):
            taken.append(1)
            yield frame

    stream = encode_frames(either_vae, reading())
    assert FramesRead(1) == next(stream)
    assert 1 == len(taken)
    stream.close()

    assert 1 == len(taken)


def test_an_abandoned_stream_leaves_nothing_for_the_next(either_vae):
    """A cancelled job's picture must not shine through the next one's."""
    stopped = encode_frames(either_vae, one_by_one(video(5, seed=1)))
    next(stopped)
    stopped.close()
    _, latents = finish(encode_frames(either_vae, one_by_one(video(5))))

    assert torch.equal(at_once(either_vae, video(5)), latents)


def test_scaling_and_scaling_back_is_nothing(either_vae):
    """The experts work at unit variance; the VAE does not."""
    latents = torch.randn(1, either_vae.config.z_dim, 2, 3, 4)
    back = denormalize(either_vae, normalize(either_vae, latents))

    assert torch.allclose(latents, back, atol=1e-5)


def test_inference_mode_does_not_leak_between_chunks(either_vae):
    """Between two chunks the caller's code runs, in its own mode."""
    modes = [
        torch.is_inference_mode_enabled() for _ in encode_frames(either_vae, one_by_one(video(5)))
    ]

    assert [False, False] == modes
