"""Every endpoint's numbers against diffusers': 1e-5 at the latents, one level at the frames."""

from __future__ import annotations

import pytest

from tests.wan_local.equality import (
    FRAMES,
    LATENTS,
    ROWS,
    differences,
    plan_for,
    with_one_expert_twice,
)
from wan_local.engine import open_engine

CASES = [
    pytest.param(row, changes, id=f"{row.endpoint}: {name}")
    for row in ROWS
    for name, changes in row.plans.items()
]


@pytest.fixture(scope="module")
def twice(weights, tmp_path_factory):
    """An engine whose two experts are one, and its weights."""
    folder = with_one_expert_twice(weights, tmp_path_factory.mktemp("twice") / "weights")
    engine = open_engine(folder, "cpu")
    yield engine, folder
    engine.close()


@pytest.mark.parametrize(("row", "changes"), CASES)
def test_latents_and_frames_are_those_of_diffusers(engine, weights, twice, tmp_path, row, changes):
    """The loop is ours for progress, cancelling and swapping; the numbers are not."""
    engine, weights = twice if row.one_expert_twice else (engine, weights)
    latents, frames = differences(engine, weights, row, plan_for(row, changes, tmp_path))
    print(f"largest difference: latents {latents:.1e}, frames {frames:.1e}")

    assert latents <= LATENTS
    assert frames <= FRAMES
