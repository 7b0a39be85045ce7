"""Make the trained small checkpoints again, from nothing, in twelve hours and more of two cores.

    python -m weights.train OUT [WEIGHTS]               # default: weights/mini
    python -m weights.train OUT WEIGHTS --share 0.002   # a rehearsal, which learns nothing

The minutes of its steps come to twelve hours, to which those that count steps come; they have not
been run in one go at that length.
Everything comes from fixed seeds. Each step is a command of its own and goes on where it stopped,
so this one may be interrupted and started again: what is finished ends at once, but trajectories,
of which every call gathers more. Steps of one row run beside one another, a core each.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
MINI = ROOT / "weights" / "mini"
EXPERTS = "experts OUT/corpus OUT/text"
I2V = "experts OUT/corpus_i2v OUT/text"
TI2V = "experts OUT/corpus_5b OUT/text"
T2V_PAIR = "OUT/text OUT/t2v_high OUT/t2v_low"
I2V_PAIR = "OUT/text OUT/i2v_high OUT/i2v_low"
RIFE = "interpolators rife OUT/rife"
NARROW_FILM = "interpolators film-narrow"
WIDE_FILM = "interpolators film-wide --steps 46500 --decay 13500"
STYLES = f"{T2V_PAIR} OUT/loras/styles"
STEPS: tuple[tuple[str, ...], ...] = (
    ("text OUT/text --minutes 3", "autoencoder 2.1 OUT/vae21 --minutes 58"),
    ("corpus OUT/vae21 OUT/corpus", "symbol OUT/nsfw_image_detection --minutes 25"),
    (
        f"{EXPERTS} OUT/stills --stills --minutes 90",
        "interpolators rife OUT/rife_first --steps 8500 --decay 1500",
    ),
    (
        f"{EXPERTS} OUT/t2v_high_first --side high --minutes 60 --start OUT/stills",
        f"{EXPERTS} OUT/t2v_low --side low --minutes 60 --start OUT/stills",
    ),
    ("corpus OUT/vae21 OUT/corpus_i2v --task i2v", "autoencoder 2.2 OUT/vae22_first --minutes 62"),
    (
        f"{I2V} OUT/i2v_high --task i2v --side high --minutes 34 --start OUT/t2v_high_first"
        " --rate 1e-3",
        f"{I2V} OUT/i2v_low --task i2v --side low --minutes 54 --start OUT/t2v_low --rate 1e-3",
    ),
    (
        f"{EXPERTS} OUT/t2v_high --side high --minutes 32 --start OUT/t2v_high_first --rate 4e-3",
        f"{NARROW_FILM} OUT/film_first --steps 8500 --decay 1500",
    ),
    (
        f"trajectories {T2V_PAIR} OUT/journeys --minutes 30",
        f"trajectories {I2V_PAIR} OUT/journeys_i2v --task i2v --corpus OUT/corpus_i2v --minutes 30",
    ),
    (
        f"turbo OUT/journeys {T2V_PAIR} OUT/loras/wan2.2-t2v-a14b-4step --minutes 24",
        f"turbo OUT/journeys_i2v {I2V_PAIR} OUT/loras/wan2.2-i2v-a14b-4step --task i2v"
        " --minutes 24",
    ),
    ("corpus OUT/vae21 OUT/dusk --style dusk", "corpus OUT/vae21 OUT/blueprint --style blueprint"),
    (
        f"style_loras dusk OUT/dusk {STYLES} --minutes 14",
        f"style_loras blueprint OUT/blueprint {STYLES} --minutes 12",
    ),
    (
        "principal 2.2 OUT/vae22_first OUT/vae22_turned --batches 12",
        "mean OUT/t2v_mean OUT/t2v_high_first OUT/t2v_low",
    ),
    (
        "corpus OUT/vae22_turned OUT/corpus_5b --task ti2v",
        "graft OUT/t2v_mean OUT/vae21 OUT/vae22_turned OUT/ti2v_grafted --clips 90",
    ),
    (
        f"{TI2V} OUT/ti2v_stills --task ti2v --stills --minutes 24 --start OUT/ti2v_grafted",
        f"{RIFE}_second --steps 13500 --decay 2000 --seed 1 --start OUT/rife_first",
    ),
    ("mean OUT/rife_mean OUT/rife_first OUT/rife_second",),
    (
        "autoencoder 2.2 OUT/vae22 --decoder-of OUT/vae22_turned --minutes 40",
        f"{NARROW_FILM} OUT/film_second --steps 16000 --decay 3500 --seed 1 --start OUT/film_first",
    ),
    (
        f"{TI2V} OUT/ti2v_first --task ti2v --minutes 64 --start OUT/ti2v_stills --rate 1e-3",
        f"{RIFE}_third --steps 16500 --decay 3000 --seed 2 --start OUT/rife_mean",
    ),
    (
        f"{TI2V} OUT/ti2v --task ti2v --minutes 62 --start OUT/ti2v_first --rate 1e-3",
        "interpolators film OUT/film_third --steps 24000 --decay 20000 --seed 2"
        " --start OUT/film_second",
    ),
    (
        "mean OUT/interpolation/rife OUT/rife_mean OUT/rife_third",
        "interpolators film-flows OUT/film_flows --steps 33000 --decay 50000 --seed 3"
        " --start OUT/film_third",
    ),
    (f"{WIDE_FILM} OUT/film_wide --until 42750 --seed 7 --start OUT/film_flows --minutes 90",),
    (
        f"{WIDE_FILM} OUT/film_wide_first --until 45250 --seed 8 --start OUT/film_wide",
        f"{WIDE_FILM} OUT/film_wide_second --until 45250 --seed 9 --start OUT/film_wide",
    ),
    ("mean OUT/film_wide_mean OUT/film_wide_first OUT/film_wide_second",),
    (
        "interpolators film-fine OUT/film_fine --steps 47750 --decay 8000 --seed 10"
        " --start OUT/film_wide_mean",
        "interpolators film-finest OUT/film_finest --steps 47750 --decay 8000 --seed 11"
        " --start OUT/film_wide_mean",
    ),
    ("mean OUT/film_fine_mean OUT/film_fine OUT/film_finest",),
    ("mean OUT/film_mean OUT/film_wide_mean OUT/film_fine_mean",),
    ("unblur OUT/film_mean OUT/interpolation/film",),
)
"""Modules of this package and their arguments."""


AMOUNT = re.compile(r"(?<=--)(minutes|steps|decay|until|batches|clips) (\d+)")


def main() -> None:
    """Run the steps in order, and put the parts together."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("weights", type=Path, nargs="?", default=MINI)
    parser.add_argument("--share", type=float, default=1, help="of the time and of the clips")
    flags = parser.parse_args()
    if flags.share != 1 and flags.weights == MINI:
        parser.error("a rehearsal is not written over the trained weights: name another WEIGHTS")
    out = flags.out.resolve()
    for row in STEPS:
        running = [start(shortened(step, flags.share), out) for step in row]
        if failed := [r.args for r in running if r.wait()]:
            sys.exit(f"this step failed, and may be started again: {failed}")
    sys.exit(start(f"assemble OUT {flags.weights.resolve()}", out).wait())


def shortened(step: str, share: float) -> str:
    """Return *step* with a *share* of its minutes or its steps, and of the clips it draws."""
    if share == 1:
        return step
    if step.startswith("corpus "):
        return f"{step} --share {share}"

    def less(amount: re.Match[str]) -> str:
        much = float(amount[2]) * share
        return f"{amount[1]} {much if amount[1] == 'minutes' else math.ceil(much)}"

    return AMOUNT.sub(less, step)


def start(step: str, out: Path) -> subprocess.Popen[bytes]:
    """Start one step on one core."""
    module, *arguments = step.split()
    command = [sys.executable, "-m", f"weights.train.{module}"]
    command += [word.replace("OUT", str(out)) for word in arguments]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"})


if __name__ == "__main__":
    main()
