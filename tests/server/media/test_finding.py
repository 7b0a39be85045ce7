"""From what a request needs to a file that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from server.media.finding import find_source
from server.media.sources import Need, Source
from wan_local.errors import BadMedia
from wan_local.geometry import Size


@dataclass
class Here:
    """A file that was fetched."""

    path: Path
    sha256: str = "a" * 64


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture"
    Image.new("RGB", (64, 48), "red").save(path, "PNG")
    return path


def no_lora(address, fetch):
    raise AssertionError(address)


def test_a_picture_is_fetched_within_its_limit_and_looked_at(picture):
    """The planner wants its size before any GPU is asked."""
    asked = []

    def fetch(url, max_bytes):
        asked.append((url, max_bytes))
        return Here(picture)

    source = find_source(Need("https://a/b", "image", "image_url"), fetch, no_lora, 1000)

    assert [("https://a/b", 1000)] == asked
    assert (str(picture), "a" * 64) == (source.path, source.sha256)
    assert Size(64, 48) == source.picture.size


def test_a_picture_is_no_video(picture):
    """Whatever it is called."""
    need = Need("https://a/b.mp4", "video", "video_url")
    with pytest.raises(BadMedia):
        find_source(need, lambda url, max_bytes: Here(picture), no_lora, 1000)


def test_a_lora_is_left_to_whoever_knows_the_ways():
    """It may have a name, and be here already."""
    lora = Source("/loras/ink", "b" * 64)
    need = Need("ink", "lora", "loras.0.path")

    assert lora is find_source(need, None, lambda address, fetch: {"ink": lora}[address], 1000)
