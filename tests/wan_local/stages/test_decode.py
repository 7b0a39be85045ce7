"""Decoding as a stream gives what decoding at once gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.wan_local.plans import a_plan
from wan_local.stages.decode import decode_frames, decode_pixels, denormalize, to_frames


def latents(frames=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 16, frames, 6, 8, generator=generator)


def at_once(vae, z):
    with torch.no_grad():
        return vae.decode(z).sample


def test_the_chunks_are_the_whole_to_the_bit(vae):
    """Each convolution looks back two frames; the stream must remember exactly those."""
    chunks = list(decode_pixels(vae, latents()))

    assert [1, 4, 4, 4] == [chunk.shape[2] for chunk in chunks]
    assert torch.equal(at_once(vae, latents()), torch.cat(chunks, dim=2))


def test_an_abandoned_stream_leaves_nothing_for_the_next(vae):
    """A cancelled job's last frames must not shine through the next video."""
    whole = at_once(vae, latents())
    stopped = decode_pixels(vae, latents(seed=1))
    next(stopped), next(stopped)
    stopped.close()

    assert torch.equal(whole, torch.cat(list(decode_pixels(vae, latents())), dim=2))


def test_two_streams_do_not_disturb_each_other(vae):
    """In diffusers the memory lies on the module, where two streams would share it."""
    one, two = decode_pixels(vae, latents(seed=1)), decode_pixels(vae, latents(seed=2))
    pairs = list(zip(one, two, strict=True))

    for seed, index in ((1, 0), (2, 1)):
        chunks = [pair[index] for pair in pairs]
        assert torch.equal(at_once(vae, latents(seed=seed)), torch.cat(chunks, dim=2))


@pytest.mark.parametrize("num_frames", [1, 2, 5, 9, 12, 13])
def test_surplus_frames_are_cut_off(vae, num_frames):
    """The VAE makes 4k+1 frames; the client gets the number it asked for."""
    frames = torch.cat(list(decode_frames(vae, latents(), num_frames=num_frames)))
    every = torch.cat(list(decode_frames(vae, latents(), num_frames=13)))

    assert (num_frames, 48, 64, 3) == tuple(frames.shape)
    assert torch.equal(every[:num_frames], frames)


def test_no_chunk_is_decoded_that_nobody_sees(vae):
    """Six frames lie in the first two latent frames after the first: three chunks of four."""
    seen = []
    hook = vae.decoder.register_forward_pre_hook(lambda *_: seen.append(1))
    list(decode_frames(vae, latents(), num_frames=6))
    hook.remove()

    assert 3 == len(seen)


def test_frames_are_those_of_diffusers_within_half_a_level(oracle, engine, our_latents, vae):
    """Rounded to eight bits; diffusers' exporter cuts off instead."""
    plan = a_plan()
    theirs = oracle(plan, "np")[0] * 255
    chunks = decode_frames(vae, our_latents(plan), num_frames=plan.num_frames)
    ours = torch.cat(list(chunks)).numpy().astype(np.float64)

    assert theirs.shape == ours.shape
    assert np.abs(theirs - ours).max() <= 0.5 + 0.01
    assert theirs.std() > 20


def test_latents_get_back_the_scale_of_each_channel(vae):
    """The transformers work at unit variance; the VAE does not."""
    zeros, ones = torch.zeros(1, 16, 1, 1, 1), torch.ones(1, 16, 1, 1, 1)
    mean, shifted = denormalize(vae, zeros).flatten(), denormalize(vae, ones).flatten()

    assert torch.allclose(torch.tensor(vae.config.latents_mean), mean)
    assert torch.allclose(torch.tensor(vae.config.latents_std), shifted - mean, atol=1e-5)


def test_pixels_are_rounded_and_not_cut_off():
    """Whole levels survive exactly, and what lies between goes to the nearer one."""
    grey = torch.arange(256).float() / 127.5 - 1
    pixels = grey.view(1, 1, 1, 16, 16).expand(1, 3, 1, 16, 16)
    frames = to_frames(pixels)

    assert torch.equal(torch.arange(256).byte().view(16, 16), frames[0, :, :, 1])
    assert 200 == to_frames(torch.full((1, 3, 1, 1, 1), 199.6 / 127.5 - 1))[0, 0, 0, 0]
    assert frames.is_contiguous()


def test_values_past_the_range_do_not_wrap_round():
    """An overshoot of white is white, not black."""
    frames = to_frames(torch.tensor([-1.2, 1.2]).view(1, 1, 1, 1, 2).expand(1, 3, 1, 1, 2))

    assert [0, 255] == frames[0, 0, :, 0].tolist()


def test_inference_mode_does_not_leak_between_chunks(vae):
    """Between two chunks the caller writes to ffmpeg, in its own mode."""
    modes = [torch.is_inference_mode_enabled() for _ in decode_frames(vae, latents(), num_frames=9)]

    assert [False, False, False] == modes
