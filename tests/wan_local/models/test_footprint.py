"""Estimates that only decide what is evicted beforehand."""

from __future__ import annotations

from wan_local.geometry import Size
from wan_local.models.footprint import EXPERT_BYTES_PER_TOKEN, expert_room, vae_room


def test_an_expert_needs_room_for_each_of_its_tokens():
    """720p with 81 frames is 75,600 tokens: 21 latent frames of 80 × 45 patches."""
    assert 75_600 * EXPERT_BYTES_PER_TOKEN == expert_room(Size(1280, 720), 21)


def test_decoding_needs_the_same_however_long_the_video_is():
    """It is a stream: only the area counts."""
    assert 4 * vae_room(Size(640, 360)) == vae_room(Size(1280, 720))


def test_a_default_request_leaves_room_for_one_expert_on_eighty_gigabytes():
    """An estimate past the card's size would evict everything, every time, for nothing."""
    assert expert_room(Size(1280, 720), 21) + 28.6e9 < 80e9
    assert vae_room(Size(1280, 720)) + 0.5e9 < 80e9
