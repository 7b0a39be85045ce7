"""Every endpoint's numbers beside diffusers', on the small checkpoints: the table of differences.

    python -m benchmarks.equality

Carries out every plan of tests/wan_local/equality.py with our engine and with the oracle of its
row, in float32 on the CPU, and prints the largest difference between latents (of unit variance) and
between frames (of 0 to 1) of each row. Needs the packages of `make test`; takes a minute or two.

Writes benchmarks/results/<date>-equality-<cpu>.json and, as a table, the same with `.md`.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.recording import ROOT, machine, record
from tests.wan_local.equality import (
    FRAMES,
    LATENTS,
    ROWS,
    Row,
    differences,
    plan_for,
    with_one_expert_twice,
)
from wan_local.engine import Engine, open_engine

HEADINGS = ("endpoint", "against", "plans", "latents", "frames")


def measure(engine: Engine, weights: Path, row: Row, folder: Path) -> dict[str, Any]:
    """Return the differences of each plan of *row*, and the largest of them."""
    plans = {}
    for name, changes in row.plans.items():
        latents, frames = differences(engine, weights, row, plan_for(row, changes, folder))
        plans[name] = {"latents": latents, "frames": frames}
        print(f"{row.endpoint}: {name}: {latents:.1e}, {frames:.1e}", file=sys.stderr)
    return {
        "endpoint": row.endpoint,
        "against": row.against,
        "latents": max(plan["latents"] for plan in plans.values()),
        "frames": max(plan["frames"] for plan in plans.values()),
        "plans": plans,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return *rows* as a table in Markdown."""
    lines = [f"| {' | '.join(HEADINGS)} |", "|---|---|--:|--:|--:|"]
    for row in rows:
        cells = (row["endpoint"], row["against"], str(len(row["plans"])))
        lines.append(f"| {' | '.join(cells)} | {row['latents']:.1e} | {row['frames']:.1e} |")
    return "\n".join(lines)


def main() -> int:
    """Measure, print and write; 1 if a row is past its limit."""
    on = machine()
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights"
        build = [sys.executable, "-m", "weights.build_small", weights]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        twice = with_one_expert_twice(weights, Path(folder) / "twice")
        engines = {path: open_engine(path, "cpu") for path in (weights, twice)}
        rows = []
        for row in ROWS:
            path = twice if row.one_expert_twice else weights
            rows.append(measure(engines[path], path, row, Path(folder)))
    packages = ("torch", "diffusers", "transformers")
    versions = {name: importlib.metadata.version(name) for name in packages}
    limits = {"latents": LATENTS, "frames": FRAMES}
    path = record("equality", on, {"versions": versions, "limits": limits, "rows": rows})
    releases = ", ".join(f"{name} {version}" for name, version in versions.items())
    text = (
        f"{table(rows)}\n\nThe largest difference of any plan; limits {LATENTS:.0e} and "
        f"{FRAMES:.1e} (one level of 255; half of one is rounding to 8 bits).\n"
        f"{releases}; {on['cpu']}; commit {on['commit']}.\n"
    )
    (ROOT / path).with_suffix(".md").write_text(text)
    print(f"{text}\nwritten to {path}")
    return int(any(row[name] > limit for row in rows for name, limit in limits.items()))


if __name__ == "__main__":
    sys.exit(main())
