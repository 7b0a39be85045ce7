"""Material that some tests use and that is not in this repository: clips, layer graphs, weights."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = (ROOT.parent / "shared", ROOT.parent.parent / "shared")


def shared(path: str) -> Path:
    """Return where *path* (`data/clips/…`) is under `../shared`; skip the test if it is not."""
    for folder in FOLDERS:
        if (folder / path).exists():
            return folder / path
    return pytest.skip(f"../shared/{path} is not on this machine")
