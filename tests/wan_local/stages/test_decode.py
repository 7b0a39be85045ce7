"""Decoding as a stream gives what decoding at once gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.wan_local.plans import a_plan
from wan_local.stages.decode import decode_pictures, decode_pixels, denormalize


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


def test_the_vae_of_wan_2_2_5b_is_streamed_to_the_bit_as_well(vae_22):
    """It decodes to patches of pixels, and its blocks have shortcuts that know the first chunk."""
    z = torch.randn(1, 48, 4, 3, 4, generator=torch.Generator().manual_seed(0))
    chunks = list(decode_pixels(vae_22, z))

    assert [(1, 48, 64), (4, 48, 64)] == [tuple(c.shape[2:]) for c in chunks[:2]]
    assert torch.equal(at_once(vae_22, z), torch.cat(chunks, dim=2))


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
    frames = torch.cat(list(decode_pictures(vae, latents(), num_frames=num_frames)))
    every = torch.cat(list(decode_pictures(vae, latents(), num_frames=13)))

    assert (num_frames, 3, 48, 64) == tuple(frames.shape)
    assert torch.equal(every[:num_frames], frames)


def test_no_chunk_is_decoded_that_nobody_sees(vae):
    """Six frames lie in the first two latent frames after the first: three chunks of four."""
    seen = []
    hook = vae.decoder.register_forward_pre_hook(lambda *_: seen.append(1))
    list(decode_pictures(vae, latents(), num_frames=6))
    hook.remove()

    assert 3 == len(seen)


def test_pictures_are_those_of_diffusers(oracle, our_latents, vae):
    """Before anything is rounded."""
    plan = a_plan()
    theirs = oracle(plan, "np")[0]
    chunks = decode_pictures(vae, our_latents(plan), num_frames=plan.num_frames)
    ours = torch.cat(list(chunks)).permute(0, 2, 3, 1).numpy()

    assert theirs.shape == ours.shape
    assert np.abs(theirs - ours).max() < 1e-4
    assert theirs.std() > 0.08


def test_latents_get_back_the_scale_of_each_channel(vae):
    """The transformers work at unit variance; the VAE does not."""
    zeros, ones = torch.zeros(1, 16, 1, 1, 1), torch.ones(1, 16, 1, 1, 1)
    mean, shifted = denormalize(vae, zeros).flatten(), denormalize(vae, ones).flatten()

    assert torch.allclose(torch.tensor(vae.config.latents_mean), mean)
    assert torch.allclose(torch.tensor(vae.config.latents_std), shifted - mean, atol=1e-5)


def test_inference_mode_does_not_leak_between_chunks(vae):
    """Between two chunks the caller writes to ffmpeg, in its own mode."""
    modes = [
        torch.is_inference_mode_enabled() for _ in decode_pictures(vae, latents(), num_frames=9)
    ]

    assert [False, False, False] == modes
