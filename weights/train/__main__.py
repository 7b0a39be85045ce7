"""Make the trained small checkpoints again, from nothing, in about two hours of two CPU cores.

    python -m weights.train OUT [WEIGHTS]        # default: weights/mini

Everything comes from fixed seeds. Each step is a command of its own and goes on where it stopped,
so this one may be interrupted and started again; what is finished is passed over. Steps of one row
run beside one another, a core each.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
STEPS = (
    (
        "text OUT/text",
        "autoencoder 2.1 OUT/vae21 --minutes 28",
    ),
    ("corpus OUT/vae21 OUT/corpus",),
    (
        "experts OUT/corpus OUT/text OUT/t2v_high --side high --minutes 45",
        "experts OUT/corpus OUT/text OUT/t2v_low --side low --minutes 45",
    ),
)
"""Modules of this package and their arguments."""


def main() -> None:
    """Run the steps in order, and put the parts together."""
    out = Path(sys.argv[1]).resolve()
    for row in STEPS:
        running = [start(step, out) for step in row]
        if failed := [r.args for r in running if r.wait()]:
            sys.exit(f"this step failed, and may be started again: {failed}")
    start(" ".join(["assemble OUT", *sys.argv[2:3]]), out).wait()


def start(step: str, out: Path) -> subprocess.Popen[bytes]:
    """Start one step on one core."""
    module, *arguments = step.split()
    command = [sys.executable, "-m", f"weights.train.{module}"]
    command += [word.replace("OUT", str(out)) for word in arguments]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"})


if __name__ == "__main__":
    main()
