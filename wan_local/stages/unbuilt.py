"""What a plan may ask for and this version does not do yet, each said in one sentence.

Whoever builds one of them deletes its row.
"""

from __future__ import annotations

from collections.abc import Callable

from wan_local.plan import VideoPlan


def _interpolation(plan: VideoPlan) -> str | None:
    if plan.interpolation is None or plan.interpolation.frames_between == 0:
        return None
    return (
        f"interpolation with {plan.interpolation.model} was asked for and is not built yet: "
        f"{plan.num_frames} frames at {plan.fps:g} fps, none added"
    )


UNBUILT: tuple[Callable[[VideoPlan], str | None], ...] = (_interpolation,)


def not_done(plan: VideoPlan) -> list[str]:
    """Return a sentence for each thing that *plan* asks for and will not get."""
    return [sentence for row in UNBUILT if (sentence := row(plan)) is not None]
