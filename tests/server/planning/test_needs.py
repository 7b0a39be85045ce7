"""The files that inputs refer to."""

from __future__ import annotations

import pytest

from server.endpoints import ENDPOINTS
from server.media.sources import Need, Source
from tests.server.planning.inputs import A14B, B5, URL, picture, plan
from tests.server.schemas.page import smallest
from wan_local.plan import LoraRef, SourceFile


def needs(endpoint, **fields):
    row = ENDPOINTS[endpoint]
    return row.needs(row.input.model_validate(smallest(endpoint) | fields))


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (f"{A14B}/text-to-video", ()),
        (f"{A14B}/text-to-video/turbo", ()),
        (f"{A14B}/text-to-video/lora", ()),
        (f"{A14B}/image-to-video", (Need(URL, "image", "image_url"),)),
        (f"{A14B}/image-to-video/turbo", (Need(URL, "image", "image_url"),)),
        (f"{A14B}/video-to-video", (Need(URL, "video", "video_url"),)),
        (f"{A14B}/image-to-image", (Need(URL, "image", "image_url"),)),
        (f"{B5}/image-to-video", (Need(URL, "image", "image_url"),)),
        (f"{B5}/text-to-image", ()),
    ],
)
def test_an_endpoint_needs_the_files_of_its_input(endpoint, expected):
    """And nothing else: what is not needed is never fetched."""
    assert expected == needs(endpoint)


def test_a_last_frame_is_one_more():
    """Fetched beside the first, and refused at its own place in the body."""
    found = needs(f"{A14B}/image-to-video", end_image_url="https://example.org/z")

    assert Need("https://example.org/z", "image", "end_image_url") == found[1]
    assert ("body", "end_image_url") == found[1].loc


def test_each_lora_is_one_more():
    """With its place in the list, for whoever is told that it does not fit."""
    loras = [{"path": "style"}, {"path": "org/repo", "weight_name": "high.safetensors"}]
    found = needs(f"{A14B}/image-to-video/lora", loras=loras)

    assert (
        Need("style", "lora", "loras.0.path"),
        Need("org/repo/high.safetensors", "lora", "loras.1.path"),
    ) == found[1:]
    assert ("body", "loras", 1, "path") == found[2].loc


@pytest.mark.parametrize("task", ["text-to-video", "image-to-video", "text-to-image"])
def test_loras_reach_the_plan_in_their_order(task):
    """Two files of one repository are two files."""
    repo = {"path": "org/repo"}
    loras = [
        repo | {"weight_name": "high.safetensors"},
        repo | {"weight_name": "low.safetensors", "transformer": "low", "scale": 0.5},
    ]
    sources = {
        URL: picture(),
        "org/repo/high.safetensors": Source("/files/high", "c" * 64),
        "org/repo/low.safetensors": Source("/files/low", "d" * 64),
    }
    refs = plan(f"{A14B}/{task}/lora", sources, loras=loras).loras

    high = SourceFile(path="/files/high", sha256="c" * 64)
    low = SourceFile(path="/files/low", sha256="d" * 64)
    assert (
        LoraRef(name="high.safetensors", scale=1.0, target="high", file=high),
        LoraRef(name="low.safetensors", scale=0.5, target="low", file=low),
    ) == refs


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("style@high", "style@high"),
        ("https://example.org/loras/ink.safetensors?token=secret", "ink.safetensors"),
        ("data:application/octet-stream;base64," + "A" * 5000, None),
    ],
)
def test_a_lora_is_called_by_the_end_of_its_path(path, name):
    """In a log that others read: no token, and no file written out."""
    sources = {path: Source("/files/x", "e" * 64)}
    [ref] = plan(f"{A14B}/text-to-video/lora", sources, loras=[{"path": path}]).loras

    assert len(ref.name) <= 80
    assert name is None or name == ref.name
