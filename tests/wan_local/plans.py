"""Plans small enough for a test."""

from __future__ import annotations

from typing import Any

from wan_local.geometry import Size
from wan_local.plan import PromptSpec, SamplingSpec, SourceFile, VideoPlan

T2V = "wan2.2-t2v-a14b"
I2V = "wan2.2-i2v-a14b"
TI2V = "wan2.2-ti2v-5b"
FAST_WAN = "wan2.2-ti2v-5b-fastwan"
PICTURE = SourceFile(path="/nowhere/picture.png", sha256="0" * 64)
"""For plans that nobody carries out."""


def a_sampling(**changes: Any) -> SamplingSpec:
    defaults: dict[str, Any] = {
        "seed": 7,
        "steps": 4,
        "shift": 5.0,
        "boundary": 0.875,
        "guidance_high": 3.5,
        "guidance_low": 4.0,
    }
    return SamplingSpec(**defaults | changes)


def a_plan(**changes: Any) -> VideoPlan:
    """Nine frames of 64×48; fields of the sampling may be given among the others."""
    sampling = {name: changes.pop(name) for name in SamplingSpec.__slots__ if name in changes}
    defaults: dict[str, Any] = {
        "model": T2V,
        "size": Size(64, 48),
        "num_frames": 9,
        "fps": 16,
        "prompt": PromptSpec(text="a cat baking a cake", negative="blurred details"),
        "sampling": a_sampling(**sampling),
    }
    return VideoPlan(**defaults | changes)
