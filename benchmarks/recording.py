"""Where a benchmark's numbers go: one JSON file, with the machine and the commit they are of."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def machine() -> dict[str, Any]:
    """Return what numbers were measured on, and when. Call it before measuring."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    )
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "cpu": found[1] if found else platform.machine(),
        "cores": os.cpu_count(),
        "load_average_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    }


def record(benchmark: str, on: dict[str, Any], numbers: dict[str, Any]) -> Path:
    """Write `results/<date>-<benchmark>-<cpu>.json` and return its path from the root."""
    device = re.sub(r"[^a-z0-9]+", "-", on["cpu"].lower()).strip("-")
    path = Path("benchmarks") / "results" / f"{on['date'][:10]}-{benchmark}-{device}.json"
    after = {"load_average_after": round(os.getloadavg()[0], 2)}
    result = {"benchmark": benchmark, **on, **after, **numbers}
    (ROOT / path).write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    return path
