"""What became of a LoRA's keys, in the lines that a job's log shows. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from wan_local.models.loras.layers import Expert, Reading

_HALF = re.compile(
    r"(?i)(?P<word>high|low)(?:[_\- ]?noise)?|(?:^|[_\-.@])(?P<short>hn|ln|h|l)(?=[_\-.]|$)"
)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a file changes the model."""

    sha256: str
    applied: int
    """Keys that change a weight."""
    total: int
    """Keys in the file."""
    weights: int
    """Weights that they change, counted once for each expert they are for."""
    ranks: tuple[int, ...]
    dropped: Mapping[str, int]
    """Reason -> keys."""
    unscaled: int
    """Low-rank changes without an alpha, which are taken as they are."""
    experts: frozenset[Expert]
    """Those that its keys name; empty if they name none and any will do."""

    def lines(self) -> list[str]:
        """Return the report, a fact a line."""
        ranks = ", ".join(map(str, self.ranks)) or "none"
        said = [
            f"{self.applied} of {self.total} keys change {self.weights} weights; "
            f"rank {ranks}; sha256 {self.sha256}"
        ]
        said += [f"{count} keys left out: {reason}" for reason, count in self.dropped.items()]
        if self.unscaled:
            said.append(f"{self.unscaled} changes have no alpha and are taken at full strength")
        if self.experts:
            names = " and ".join(f"{expert}-noise" for expert in sorted(self.experts))
            said.append(f"its keys are for the {names} expert")
        return said


def coverage(reading: Reading, sha256: str) -> Coverage:
    """Return the report on *reading*."""
    used = {key for layer in reading.layers for key in layer.tensors.values()}
    return Coverage(
        sha256=sha256,
        applied=len(used),
        total=reading.total,
        weights=len({(layer.weight, layer.expert) for layer in reading.layers}),
        ranks=tuple(sorted({layer.rank for layer in reading.layers if layer.rank})),
        dropped=reading.dropped,
        unscaled=sum(
            bool(layer.rank) and layer.scale is None and "alpha" not in layer.tensors
            for layer in reading.layers
        ),
        experts=frozenset(layer.expert for layer in reading.layers if layer.expert),
    )


def guessed_expert(name: str) -> Expert | None:
    """Return the expert that a file's *name* says it is for, if it says one and not both."""
    found = {(m["word"] or m["short"]).lower()[0] for m in _HALF.finditer(name)}
    return {"h": "high", "l": "low"}.get(found.pop()) if len(found) == 1 else None  # type: ignore[return-value]
