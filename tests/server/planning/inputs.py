"""Inputs and sources for plans that nobody carries out."""

from __future__ import annotations

from server.endpoints import ENDPOINTS
from server.media.sources import Source
from tests.server.schemas.page import smallest
from wan_local.geometry import Size
from wan_local.media import MediaInfo

A14B = "fal-ai/wan/v2.2-a14b"
B5 = "fal-ai/wan/v2.2-5b"
URL = "https://example.org/a"


def picture(width=1280, height=720):
    return Source("/files/picture", "a" * 64, MediaInfo(kind="image", size=Size(width, height)))


def film(num_frames=81, fps=16.0):
    info = MediaInfo(
        kind="video",
        size=Size(1280, 720),
        num_frames=num_frames,
        fps=fps,
        duration=num_frames / fps,
    )
    return Source("/files/film", "b" * 64, info)


def plan(endpoint, sources=None, seed=7, **fields):
    """Plan the smallest request to *endpoint* with *fields*."""
    row = ENDPOINTS[endpoint]
    wire = row.input.model_validate(smallest(endpoint) | fields)
    if sources is None:
        sources = {
            need.url: film() if need.kind == "video" else picture() for need in row.needs(wire)
        }
    return row.plan(wire, seed, sources)
