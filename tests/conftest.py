"""The small checkpoint, built once for all tests that generate."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Read by the libraries when they are imported: no test may reach for a hub.
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
# As in server.settings.child_environment: threads that spin starve the processes beside them.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """A weights directory that holds the small checkpoint as `wan2.2-t2v-a14b`."""
    out = tmp_path_factory.mktemp("weights")
    # In a process of its own, so that tests of the torch-free half stay torch-free.
    build = [sys.executable, "-m", "weights.build_small", out]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    return out
