"""Ask trained checkpoints for scenes, and read what they show.

    python -m weights.train.evaluate WEIGHTS [--prompts 200] [--clips 20] [--out results.json]

WEIGHTS is a weights directory; what it lacks is left out and said. The reader is pixel statistics
and no network (`reader.py`); the prompts join colours, shapes and motions that were never trained
together (`corpus.held_out`). The measures are the rows of RATES and CLIPS in `measures.py`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.recording import machine
from wan_local.errors import BadCheckpoint, WeightsMissing
from weights.train.asking import Studio
from weights.train.measures import CHANCE, CLIPS, RATES, Measure, Result, of_styles


def evaluate(
    studio: Studio, measures: dict[str, Measure], names: Iterable[str], count: int, frames: int
) -> Iterator[tuple[str, Result]]:
    """Print the numbers of the *measures* called *names*, and yield each as it comes."""
    for name in measures:
        if name not in names:
            continue
        started = time.perf_counter()
        try:
            found = measures[name](studio, count, frames)
        except (WeightsMissing, BadCheckpoint, FileNotFoundError) as error:
            print(f"{name}: left out: {error}", flush=True)
            continue
        rounded = {
            key: round(value, 3) if isinstance(value, float) else value
            for key, value in found.items()
        }
        print(f"{name}: {rounded}  {time.perf_counter() - started:.0f} s", flush=True)
        yield name, rounded


def main(arguments: list[str] | None = None) -> None:
    """Measure what is asked for, or everything, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--prompts", type=int, default=200, help="of each measure of rates")
    parser.add_argument("--clips", type=int, default=20, help="of each other measure")
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--styles", type=Path, help="by default WEIGHTS/loras/styles")
    parser.add_argument("--only", nargs="*", help="names of measures")
    parser.add_argument("--out", type=Path)
    flags = parser.parse_args(arguments)
    torch.set_flush_denormal(True)
    on = machine()
    clips = CLIPS | of_styles(flags.styles or flags.weights / "loras" / "styles")
    names = flags.only or [*RATES, *clips]
    if unknown := set(names) - {*RATES, *clips}:
        parser.error(f"no measure is called {unknown.pop()!r}; there are {[*RATES, *clips]}")
    chance = {name: round(share, 4) for name, share in CHANCE.items()}
    print("chance:", chance, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(flags.weights, Path(folder))
        results: dict[str, Any] = {
            **on,
            "prompts": flags.prompts,
            "clips": flags.clips,
            "frames": flags.frames,
            "rates": {"chance": chance},
            "measures": {},
        }
        for table, measures, count in (
            ("rates", RATES, flags.prompts),
            ("measures", clips, flags.clips),
        ):
            for name, found in evaluate(studio, measures, names, count, flags.frames):
                results[table][name] = found
                _keep(results, flags.out)


def _keep(results: dict[str, Any], path: Path | None) -> None:
    """Write what there is so far: it outlasts an interruption."""
    if path is not None:
        path.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
