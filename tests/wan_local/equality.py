"""The plans that must come out as diffusers' do: one row an endpoint, several plans a row.

`tests/wan_local/test_equality.py` holds every one of them to the limits; `benchmarks/equality.py`
prints the table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.wan_local import oracles
from tests.wan_local.plans import FAST_WAN, I2V, T2V, TI2V, a_plan
from wan_local.engine import Stopwatch
from wan_local.geometry import Size, generated_frames
from wan_local.media.reading import read_picture, read_video
from wan_local.models.loading import load_component
from wan_local.plan import EncodingSpec, PictureSpec, SourceFile, StartSpec, VideoPlan
from wan_local.rendering import to_levels
from wan_local.stages.decode import decode_pictures
from wan_local.video.writer import VideoWriter

LATENTS = 1e-5
"""The largest difference allowed between latents, which are of unit variance."""
FRAMES = 1 / 255
"""And between frames of 0 to 1."""


@dataclass(frozen=True)
class Row:
    """One endpoint, or one way of running one."""

    endpoint: str
    against: str
    """What the oracle is."""
    oracle: Callable[..., Any]
    plans: dict[str, dict[str, Any]]
    """What each plan is about -> how it differs from `a_plan`."""
    given: str = ""
    """What comes with the request: `first`, `first and last`, `picture`, `video`."""

    @property
    def one_expert_twice(self) -> bool:
        """Whether it wants weights in which both experts are the same, and one guidance."""
        return self.oracle is oracles.one_expert_from_a_start


A14B = {
    "guidance in both experts": {},
    "no guidance": {"guidance_high": 1, "guidance_low": 1},
    "guidance (4, 1)": {"guidance_high": 4, "guidance_low": 1},
    "guidance (1, 4)": {"guidance_high": 1, "guidance_low": 4},
    "shift 1, 6 steps": {"shift": 1.0, "steps": 6},
    "shift 12, 12 steps": {"shift": 12.0, "steps": 12},
    "the high-noise expert alone": {"boundary": 0.0},
    "the low-noise expert alone": {"boundary": 1.01},
    "one step, another seed": {"steps": 1, "seed": 2**40 + 1},
    "upright, 5 frames": {"size": Size(48, 80), "num_frames": 5},
    "square, 13 frames": {"size": Size(64, 64), "num_frames": 13},
    "7 frames, cut from 9": {"num_frames": 7},
}
ONE_FRAME = {"num_frames": 1, "shift": 2.0, "picture": PictureSpec()}
IMAGE = {"model": I2V, "boundary": 0.9}
SMALL = {"model": TI2V, "boundary": None, "size": Size(96, 64), "fps": 24}
OF_5B = {
    "guidance": SMALL,
    "no guidance": SMALL | {"guidance_high": 1},
    "shift 1, 6 steps": SMALL | {"shift": 1.0, "steps": 6},
    "shift 12, 12 steps": SMALL | {"shift": 12.0, "steps": 12},
    "upright, 5 frames": SMALL | {"size": Size(64, 96), "num_frames": 5},
    "square, 13 frames": SMALL | {"size": Size(64, 64), "num_frames": 13},
    "7 frames, cut from 9": SMALL | {"num_frames": 7},
}


def strengths(**changes: Any) -> dict[str, dict[str, Any]]:
    """Return the same plan at each strength, and at the guidance pairs that are special."""
    plans = {f"strength {s:g}": {"steps": 10, "strength": s} for s in (1.0, 0.9, 0.6, 0.3)}
    more = {
        "guidance (1, 4)": {"steps": 10, "strength": 0.9, "guidance_high": 1, "guidance_low": 4},
        "guidance (4, 1)": {"steps": 10, "strength": 0.9, "guidance_high": 4, "guidance_low": 1},
        "shift 12, one step": {"steps": 3, "strength": 0.4, "shift": 12.0},
    }
    return {name: plan | changes for name, plan in (plans | more).items()}


ROWS = [
    Row("a14b text-to-video", "WanPipeline", oracles.text_to_video, A14B),
    Row(
        "a14b text-to-image",
        "WanPipeline",
        oracles.text_to_video,
        {name: A14B[name] | ONE_FRAME for name in list(A14B)[:4]},
    ),
    Row(
        "a14b image-to-video",
        "WanImageToVideoPipeline",
        oracles.image_to_video,
        {name: IMAGE | plan for name, plan in A14B.items()},
        "first",
    ),
    Row(
        "a14b image-to-video, first and last",
        "WanImageToVideoPipeline",
        oracles.image_to_video,
        # Off the grid, our last picture stands in another frame than diffusers' would.
        {name: IMAGE | plan for name, plan in A14B.items() if "cut from" not in name},
        "first and last",
    ),
    Row(
        "a14b video-to-video, two experts",
        "the recipe on WanPipeline",
        oracles.two_experts_from_a_start,
        strengths(),
        "video",
    ),
    Row(
        "a14b video-to-video, one expert twice",
        "WanVideoToVideoPipeline",
        oracles.one_expert_from_a_start,
        strengths(),
        "video",
    ),
    Row(
        "a14b image-to-image, two experts",
        "the recipe on WanPipeline",
        oracles.two_experts_from_a_start,
        strengths(**ONE_FRAME),
        "picture",
    ),
    Row(
        "a14b image-to-image, one expert twice",
        "WanVideoToVideoPipeline",
        oracles.one_expert_from_a_start,
        strengths(**ONE_FRAME),
        "picture",
    ),
    Row("5b text-to-video", "WanPipeline", oracles.text_to_video, OF_5B),
    Row(
        "5b text-to-video/distill",
        "WanPipeline",
        oracles.text_to_video,
        {"guidance 1": OF_5B["no guidance"]},
    ),
    Row(
        "5b text-to-video/fast-wan",
        "DMD written down again",
        oracles.three_steps_of_dmd,
        {
            name: SMALL
            | {"model": FAST_WAN, "solver": "dmd", "steps": 3, "guidance_high": 1}
            | changes
            for name, changes in {
                "three steps": {},
                "another seed": {"seed": 11},
                "upright, 5 frames": {"size": Size(64, 96), "num_frames": 5},
            }.items()
        },
    ),
    Row("5b image-to-video", "WanImageToVideoPipeline", oracles.image_to_video, OF_5B, "first"),
    Row(
        "5b text-to-image",
        "WanPipeline",
        oracles.text_to_video,
        {name: OF_5B[name] | ONE_FRAME for name in list(OF_5B)[:2]},
    ),
]


def with_one_expert_twice(weights: Path, folder: Path) -> Path:
    """Return a weights directory in *folder* whose low-noise expert is the high-noise one."""
    model = folder / T2V
    model.mkdir(parents=True)
    for part in (weights / T2V).iterdir():
        owner = weights / T2V / "transformer" if part.name == "transformer_2" else part
        (model / part.name).symlink_to(owner)
    return folder


def plan_for(row: Row, changes: dict[str, Any], folder: Path) -> VideoPlan:
    """Return the plan, the files that come with it written into *folder*."""
    changes = dict(changes)
    strength = changes.pop("strength", None)
    if row.one_expert_twice:
        changes["guidance_low"] = changes.get("guidance_high", a_plan().sampling.guidance_high)
    plan = a_plan(
        **changes
        | ({"first_frame": picture(folder, changes)} if row.given.startswith("first") else {})
        | ({"last_frame": picture(folder, changes, 1)} if row.given.endswith("last") else {})
    )
    if strength is None:
        return plan
    file = picture(folder, changes) if row.given == "picture" else video(folder, plan)
    return replace(plan, start=StartSpec(file=file, strength=strength))


def picture(folder: Path, changes: dict[str, Any], seed: int = 0) -> SourceFile:
    """Write a picture of coloured noise, of the plan's own size."""
    size = a_size(changes)
    path = folder / f"{size}-{seed}.png"
    levels = np.random.default_rng(seed).integers(0, 256, (size.height, size.width, 3), np.uint8)
    Image.fromarray(levels).save(path)
    return source(path)


def video(folder: Path, plan: VideoPlan) -> SourceFile:
    """Write a video of moving noise, of the plan's own size and length."""
    path = folder / f"{plan.size}-{plan.num_frames}.mp4"
    shape = (plan.num_frames, plan.size.height, plan.size.width, 3)
    levels = np.random.default_rng(2).integers(0, 256, shape, np.uint8)
    with VideoWriter(path, plan.size, fps=plan.fps, encoding=EncodingSpec()) as writer:
        writer.write(torch.from_numpy(levels))
    return source(path)


def source(path: Path) -> SourceFile:
    """Return *path* as the server would hand it on."""
    return SourceFile(path=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def a_size(changes: dict[str, Any]) -> Size:
    """Return the size that the plan will have."""
    return changes.get("size", a_plan().size)


def frames_given(plan: VideoPlan) -> np.ndarray:
    """Return what came with *plan* as [n, h, w, 3] in 0..1, for the oracle."""
    if plan.start and not plan.picture:
        total = generated_frames(plan.num_frames)
        frames = list(read_video(Path(plan.start.file.path), num_frames=total))
    else:
        files = (plan.first_frame, plan.last_frame, plan.start.file if plan.start else None)
        frames = [read_picture(Path(file.path)) for file in files if file]
    return np.stack(frames).astype(np.float32) / 255 if frames else np.empty(0)


def ours(engine, plan):
    """Return our latents of *plan*."""
    journey = engine.sample(plan, Stopwatch(torch.device("cpu")))
    while True:
        try:
            next(journey)
        except StopIteration as end:
            return end.value


def differences(engine, weights: Path, row: Row, plan: VideoPlan) -> tuple[float, float]:
    """Return the largest difference between our latents and the oracle's, and between frames."""
    given = frames_given(plan)
    latents = ours(engine, plan)
    theirs = row.oracle(weights, plan, given)
    assert theirs.shape == latents.shape
    assert latents.std() > 0.3  # equal zeros would be equal too
    vae = load_component(weights / plan.model, "vae", torch.float32)
    levels = [
        to_levels(chunk) for chunk in decode_pictures(vae, latents, num_frames=plan.num_frames)
    ]
    shown = torch.cat(levels).numpy().astype(np.float64) / 255
    expected = oracles.decoded(oracles.parts(weights / plan.model)["vae"], theirs)[0]
    expected = expected[: plan.num_frames]
    assert shown.shape == expected.shape
    return (theirs - latents).abs().max().item(), float(np.abs(shown - expected).max())
