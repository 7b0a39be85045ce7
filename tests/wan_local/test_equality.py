"""Every endpoint's numbers against diffusers': 1e-5 at the latents, one level at the frames."""

from __future__ import annotations

import pytest

from tests.wan_local.equality import FRAMES, LATENTS, ROWS, differences, plan_for

CASES = [
    pytest.param(row, changes, id=f"{row.endpoint}: {name}")
    for row in ROWS
    for name, changes in row.plans.items()
]


@pytest.mark.parametrize(("row", "changes"), CASES)
def test_latents_and_frames_are_those_of_diffusers(engine, weights, tmp_path, row, changes):
    """The loop is ours for progress, cancelling and swapping; the numbers are not."""
    plan = plan_for(row, changes, tmp_path)
    latents, frames = differences(engine, weights, row, plan)
    print(f"largest difference: latents {latents:.1e}, frames {frames:.1e}")

    assert latents <= LATENTS
    assert frames <= FRAMES
