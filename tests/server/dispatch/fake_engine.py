"""An engine without weights: waits, says what the real one says, and writes a small file.

The prompt is a list of commands, so that a test steers a process it cannot reach into:

    steps=20 pause=0.05      how many steps, and seconds for each
    warn                     say a warning before the first step
    crash[=N]                die like a segmentation fault, at the start of the first N attempts
    hang                     never come to the second step, while the heartbeat goes on
    deaf                     take no cancel: sleep through everything
    fork                     start a process of its own, as the encoder does
    invalid                  fail as the engine fails on purpose
    refused                  find the prompt unfit
    bug                      fail as no engine should
    broken                   fail as CUDA does after a device-side assert
    hungry                   run out of main memory
    nothing                  say that it is finished, and leave no file
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Generator
from pathlib import Path

from wan_local.errors import ContentRefused, InvalidPlan
from wan_local.events import Event, Finished, FramesWritten, Stage, StageStarted, StepDone, Warned
from wan_local.plan import VideoPlan


class FakeEngine:
    """Carries out the commands in a plan's prompt."""

    device_name = "fake"

    def __init__(self, quantization: str = "none") -> None:
        self.quantization = quantization

    def run(self, plan: VideoPlan, output: Path) -> Generator[Event, None, None]:
        """Do as the prompt says; the last event is `Finished`."""
        started = time.monotonic()
        commands = _commands(plan.prompt.text)
        _note(output)
        yield StageStarted(Stage.LOAD)
        if "warn" in commands:
            yield Warned("this engine has no safety checker")
        _misbehave(commands, output)
        yield StageStarted(Stage.DENOISE)
        steps = int(commands.get("steps", "4"))
        for step in range(1, steps + 1):
            time.sleep(float(commands.get("pause", "0.01")))
            if "hang" in commands and step == 2:
                time.sleep(3600)
            yield StepDone(step, steps)
        yield StageStarted(Stage.DECODE)
        part = output.with_suffix(".part")
        try:
            part.write_bytes(_video(plan, output))
            yield FramesWritten(plan.num_frames, plan.num_frames)
            if "nothing" not in commands:
                part.replace(output)
        finally:
            part.unlink(missing_ok=True)
        yield Finished(
            path=str(output),
            size=plan.size,
            num_frames=plan.num_frames,
            fps=plan.fps,
            seed=plan.sampling.seed,
            timings={"denoise": time.monotonic() - started},
            prompt=plan.prompt.text,
        )

    def close(self) -> None:
        """Nothing is held."""


def open_engine(weights_dir: Path, device: str, quantization: str) -> FakeEngine:
    """Open it, as `wan_local.engine.open_engine` would; `missing` weights cannot be opened."""
    if weights_dir.name == "missing":
        raise FileNotFoundError(weights_dir)
    return FakeEngine(quantization)


def open_slowly(weights_dir: Path, device: str, quantization: str) -> FakeEngine:
    """Take for ever to open."""
    time.sleep(3600)
    return FakeEngine()


def _video(plan: VideoPlan, output: Path) -> bytes:
    return f"{plan.prompt.text}\n{output.name}\n".encode() * 1000


def _commands(prompt: str) -> dict[str, str]:
    return dict((word + "=").split("=")[:2] for word in prompt.split())


def _note(output: Path) -> None:
    """Write down that this attempt was run: tests count executions in it."""
    with (output.parent.parent / "executions").open("a") as file:
        file.write(f"{output.stem} {os.getpid()}\n")


def _misbehave(commands: dict[str, str], output: Path) -> None:
    attempt = int(output.stem.rpartition(".")[2])
    if "crash" in commands and attempt <= int(commands["crash"] or "1000"):
        os.kill(os.getpid(), signal.SIGKILL)
    if "fork" in commands:
        subprocess.Popen(["sleep", "3600"])
    if "deaf" in commands:
        time.sleep(3600)
    if "invalid" in commands:
        msg = "a plan this engine refuses"
        raise InvalidPlan(msg)
    if "refused" in commands:
        raise ContentRefused(part="prompt")
    if "bug" in commands:
        msg = "secret internals"
        raise KeyError(msg)
    if "broken" in commands and attempt == 1:
        msg = "CUDA error: device-side assert triggered"
        raise RuntimeError(msg)
    if "hungry" in commands:
        raise MemoryError
