"""Turns a pickle of weights into safetensors, in a process of its own, offline.

    python -m wan_local.interpolation.convert flownet.pkl [rife.safetensors]

Nothing of the pickle is run, as `archive` says; the server does not open one all the same.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from safetensors.torch import save_file

from wan_local.errors import BadCheckpoint
from wan_local.interpolation.archive import read_archive


def convert(source: Path, target: Path) -> int:
    """Write the tensors of *source* to *target*, whole or not at all, and return their number.

    Raises:
        BadCheckpoint: If *source* is no archive of torch, or has anything but tensors in it.
    """
    weights = read_archive(source)
    if not weights:
        msg = f"{source} has no weights in it"
        raise BadCheckpoint(msg)
    part = target.with_name(f"{target.name}.part")
    save_file(weights, part)
    part.replace(target)
    return len(weights)


def main(arguments: list[str] | None = None) -> int:
    """Read the command line, convert, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m wan_local.interpolation.convert")
    parser.add_argument("source", type=Path, help="a .pkl or .pth that torch wrote")
    parser.add_argument("target", type=Path, nargs="?", help="default: beside it, .safetensors")
    chosen = parser.parse_args(arguments)
    target = chosen.target or chosen.source.with_suffix(".safetensors")
    try:
        number = convert(chosen.source, target)
    except (BadCheckpoint, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{number} tensors written to {target}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
