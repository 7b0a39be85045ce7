"""Estimates that only decide what is evicted beforehand."""

from __future__ import annotations

import pytest

from tests.wan_local.plans import FAST_WAN, I2V, T2V, TI2V
from wan_local.catalog import MODELS
from wan_local.geometry import Size
from wan_local.models.footprint import expert_bytes, expert_room, vae_room, vae_tiles


def test_an_expert_needs_room_for_each_of_its_tokens():
    """720p with 81 frames is 75,600 tokens: 21 latent frames of 80 × 45 patches."""
    one = expert_room(MODELS[T2V], Size(16, 16), 1)

    assert 75_600 * one == expert_room(MODELS[T2V], Size(1280, 720), 21)
    assert one == expert_room(MODELS[I2V], Size(16, 16), 1)


def test_a_timestep_for_each_token_takes_room_of_its_own():
    """Text goes with one timestep for all of them, and then with one row of modulation."""
    size = Size(1280, 704)

    assert expert_room(MODELS[FAST_WAN], size, 21) < expert_room(MODELS[TI2V], size, 21)


@pytest.mark.parametrize("quantization", ["float8", "int8"])
def test_eight_bits_halve_an_expert_and_need_a_little_room(quantization):
    """A weight is made whole for its turn: the feed-forward's, in float32 and in bfloat16."""
    spec, size = MODELS[T2V], Size(1280, 720)
    more = expert_room(spec, size, 21, quantization) - expert_room(spec, size, 21)

    assert 5120 * 13824 * 6 == more
    assert 0.51 == round(expert_bytes(spec, quantization) / expert_bytes(spec), 2)
    assert 2 * more < expert_bytes(spec) - expert_bytes(spec, quantization)


def test_decoding_needs_the_same_however_long_the_video_is():
    """It is a stream: only the area counts."""
    assert 4 * vae_room(MODELS[T2V], Size(640, 360)) == vae_room(MODELS[T2V], Size(1280, 720))


@pytest.mark.parametrize(
    ("model", "weights_gb", "size"),
    [(T2V, 28.6, Size(1280, 720)), (I2V, 28.6, Size(1280, 720)), (TI2V, 10.0, Size(1280, 704))],
)
def test_a_default_request_leaves_room_for_one_expert_on_eighty_gigabytes(model, weights_gb, size):
    """An estimate past the card's size would evict everything, every time, for nothing."""
    assert expert_room(MODELS[model], size, 21) + weights_gb * 1e9 < 80e9
    assert vae_room(MODELS[model], size) + 2.8e9 < 80e9


def test_a_frame_is_cut_only_when_it_does_not_fit():
    """And into no more pieces than needed: each is decoded with a margin around it."""
    size = Size(1280, 720)
    room = vae_room(MODELS[T2V], size)

    assert 1 == vae_tiles(MODELS[T2V], size, None)
    assert [1, 2, 3, 4, 4] == [
        vae_tiles(MODELS[T2V], size, int(room * share)) for share in (1, 0.9, 0.2, 0.1, 0.01)
    ]
