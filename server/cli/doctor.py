"""`wan-local doctor`: is everything here that a video needs?

Each check is a function of the settings that returns one Finding; to add one, write it and add
it to `CHECKS`. Torch is asked in a child process, so that this one never loads it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import imageio_ffmpeg  # type: ignore[import-untyped]
import orjson
import typer
from rich.console import Console
from rich.table import Table

from server.certificates import find_certificates
from server.cli.exits import Exit
from server.cli.flags import AsJson, DataDir, DeviceFlag, WeightsDir, load_settings
from server.expansion import Expander
from server.keys import KeyRing
from server.policy import classifier_folder, expander_folder
from server.settings import Settings, child_environment
from wan_local.catalog import MODELS
from wan_local.errors import BadCheckpoint, WeightsMissing
from wan_local.models.companions import (
    EXPANDER,
    IMAGE_CLASSIFIER,
    TEXT_CLASSIFIER,
    find_companion,
)
from wan_local.models.footprint import expert_bytes
from wan_local.models.weights import find_checkpoint
from wan_local.video.nvenc import refusal

Verdict = Literal["ok", "warn", "fail"]

CHILD_PATIENCE = 120.0
"""Seconds for a child to import torch; a cold disk takes most of them."""
FREE_GB = 10.0
"""Room for jobs and videos below which `doctor` warns."""
BESIDE_GB = 3.0
"""Memory for what is not an expert; with less, the experts are moved in and out."""

EXPIRES_SOON = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    subject: str
    verdict: Verdict
    text: str
    remedy: str = ""
    """What to do about it; empty when nothing has to be done."""


def doctor(
    data_dir: DataDir = None,
    weights_dir: WeightsDir = None,
    device: DeviceFlag = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Check Python, torch, the GPU, ffmpeg, the disk and the checkpoints; exit 1 if one fails."""
    settings = load_settings(data_dir=data_dir, weights_dir=weights_dir, device=device)
    findings = [check(settings) for check in CHECKS]
    if as_json:
        typer.echo(orjson.dumps([asdict(finding) for finding in findings]))
    else:
        _print(findings)
    if any(finding.verdict == "fail" for finding in findings):
        raise typer.Exit(Exit.FAILED)


def check_python(_: Settings) -> Finding:
    """Which Python this is; the package does not install on one that is too old."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", "ok", version)


def check_torch(_: Settings) -> Finding:
    """A torch that can be imported."""
    code = "import json, torch; print(json.dumps([torch.__version__, torch.version.cuda]))"
    answer = ask_child("-c", code)
    if isinstance(answer, str):
        return Finding("torch", "fail", answer, "pip install -c constraints.txt torch")
    version, cuda = answer
    return Finding("torch", "ok", f"{version}, built for {f'CUDA {cuda}' if cuda else 'the CPU'}")


def check_gpu(settings: Settings) -> Finding:
    """A CUDA device, unless the CPU was asked for."""
    if settings.device == "cpu":
        return Finding("gpu", "ok", "not used: device is cpu")
    answer = ask_child("-m", "wan_local.models.devices")
    if isinstance(answer, str):
        return Finding("gpu", "fail", answer, "see the check of torch")
    sizes = [len(s.experts) * expert_bytes(s, settings.quantization) for s in MODELS.values()]
    return judge_gpus(answer, required=settings.device == "cuda", experts_gb=max(sizes) / 1e9)


def judge_gpus(gpus: list[dict[str, Any]], *, required: bool, experts_gb: float) -> Finding:
    """Say whether *gpus*, as `wan_local.models.devices` lists them, will do.

    *experts_gb* is the memory that both experts take.
    """
    if not gpus:
        remedy = "check `nvidia-smi`, and that torch is built for CUDA"
        text = "none found" if required else "none found: videos are made on the CPU"
        return Finding("gpu", "fail" if required else "warn", text, remedy)
    text = ", ".join(f"{gpu['device']} {gpu['name']} {gpu['memory_gb']:.0f} GB" for gpu in gpus)
    if min(gpu["memory_gb"] for gpu in gpus) < experts_gb + BESIDE_GB:
        return Finding("gpu", "warn", text, "the experts take turns in memory: expect it slower")
    return Finding("gpu", "ok", text)


def check_ffmpeg(_: Settings) -> Finding:
    """An ffmpeg with the H.264 encoder."""
    try:
        path = imageio_ffmpeg.get_ffmpeg_exe()
        listing = _run([path, "-hide_banner", "-encoders"])
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        return Finding("ffmpeg", "fail", str(error), "pip install imageio-ffmpeg")
    if "libx264" not in listing:
        remedy = "unset IMAGEIO_FFMPEG_EXE to use the one that comes with imageio-ffmpeg"
        return Finding("ffmpeg", "fail", f"{path} has no libx264", remedy)
    return Finding("ffmpeg", "ok", f"{Path(path).name} with libx264")


def check_nvenc(settings: Settings) -> Finding:
    """The GPU's own video encoder, if it is to be used: two frames are encoded on trial."""
    if not settings.nvenc:
        return Finding("nvenc", "ok", "not used: the setting nvenc is off")
    reason = refusal("h264", imageio_ffmpeg.get_ffmpeg_exe())
    if reason is not None:
        remedy = "set nvenc to false: videos are encoded on the CPU either way"
        return Finding("nvenc", "warn", reason, remedy)
    return Finding("nvenc", "ok", "two frames of H.264 were encoded on trial")


def check_disk(settings: Settings) -> Finding:
    """Room for jobs and videos."""
    free = shutil.disk_usage(_nearest_existing(settings.data_dir)).free / 1e9
    text = f"{free:.0f} GB free for {settings.data_dir}"
    if free < FREE_GB:
        return Finding("disk", "warn", text, "free some, or set --data-dir to another disk")
    return Finding("disk", "ok", text)


def check_checkpoints(settings: Settings) -> Finding:
    """At least one model's files, and none that is there by half."""
    found: list[str] = []
    missing: list[str] = []
    broken: list[str] = []
    for id in MODELS:
        try:
            found.append(str(find_checkpoint(settings.weights_dir, id)))
        except WeightsMissing as error:
            missing.append(str(error))
        except BadCheckpoint as error:
            broken.append(str(error))
    if broken or not found:
        wrong = (broken or missing)[0]
        return Finding("checkpoint", "fail", f"looked in {settings.weights_dir}", wrong)
    return Finding("checkpoint", "ok", ", ".join(found))


def check_safety(settings: Settings) -> Finding:
    """What the safety checks need, as far as the policy asks for them."""
    if settings.safety == "off":
        return Finding("safety", "ok", "switched off (setting safety)")
    try:
        folder = find_companion(IMAGE_CLASSIFIER, classifier_folder(settings))
        _find_text_checks(settings)
    except (WeightsMissing, BadCheckpoint) as error:
        what, _, remedy = str(error).partition(" This fetches it: ")
        needed = settings.safety == "force"
        return Finding("safety", "fail" if needed else "warn", what, remedy)
    paths = (settings.safety_words, settings.safety_text_classifier)
    readers = " and ".join(str(path) for path in paths if path is not None)
    prompts = f"prompts by {readers}" if readers else "prompts by nobody"
    return Finding("safety", "ok", f"{settings.safety}: pictures by {folder}, {prompts}")


def check_expansion(settings: Settings) -> Finding:
    """Who expands prompts, and whether it can be reached."""
    if settings.expansion == "none":
        return Finding("expansion", "ok", "nobody (setting expansion): prompts are used as written")
    if settings.expansion == "transformers":
        try:
            folder = find_companion(EXPANDER, expander_folder(settings))
        except (WeightsMissing, BadCheckpoint) as error:
            what, _, remedy = str(error).partition(" This fetches it: ")
            return Finding("expansion", "warn", what, remedy)
        return Finding("expansion", "ok", f"by the language model in {folder}")
    expanded = Expander(settings).expand("a cat", "video", seed=0, picture=None)
    address = f"{settings.expansion_model or 'the default model'} at {settings.expansion_url}"
    if expanded.text is None:
        remedy = "start that server, or see expansion_url, expansion_model and expansion_key"
        return Finding("expansion", "warn", f"{address}: {expanded.remark}", remedy)
    return Finding("expansion", "ok", f"by {address}, which answers")


def _find_text_checks(settings: Settings) -> None:
    if settings.safety_words is not None and not settings.safety_words.is_file():
        msg = f"there is no list of refused words at {settings.safety_words}"
        raise WeightsMissing(msg)
    if settings.safety_text_classifier is not None:
        find_companion(TEXT_CLASSIFIER, settings.safety_text_classifier)


def check_tls(settings: Settings) -> Finding:
    """A certificate for fal's Python client."""
    found = find_certificates(settings.data_dir / "tls")
    if found is None:
        remedy = "wan-local tls (fal's Python client speaks HTTPS only)"
        return Finding("tls", "warn", "no certificate", remedy)
    return judge_expiry(found.expires_at, datetime.now(UTC))


def judge_expiry(expires_at: datetime, now: datetime) -> Finding:
    """Say whether a certificate that expires then is still good for a while."""
    if expires_at < now + EXPIRES_SOON:
        return Finding("tls", "warn", f"expires {expires_at:%Y-%m-%d}", "wan-local tls")
    return Finding("tls", "ok", f"until {expires_at:%Y-%m-%d}")


def check_keys(settings: Settings) -> Finding:
    """API keys, once the server can be reached from outside."""
    number = len(KeyRing(settings.data_dir / "keys.json").list())
    if number:
        return Finding("keys", "ok", f"{number} of them")
    if settings.on_loopback:
        return Finding("keys", "ok", f"none, and none needed on {settings.host}")
    return Finding("keys", "fail", f"none, and {settings.host} is public", "wan-local keys create")


CHECKS: list[Callable[[Settings], Finding]] = [
    check_python,
    check_torch,
    check_gpu,
    check_ffmpeg,
    check_nvenc,
    check_disk,
    check_checkpoints,
    check_safety,
    check_expansion,
    check_tls,
    check_keys,
]


def ask_child(*arguments: str) -> Any:
    """Return the JSON that a Python child prints, or the last line of its complaint as a string."""
    try:
        return orjson.loads(_run([sys.executable, *arguments]))
    except subprocess.CalledProcessError as error:
        return (error.stderr.strip().splitlines() or ["it failed without a word"])[-1]
    except subprocess.TimeoutExpired:
        return f"no answer within {CHILD_PATIENCE:.0f} s"


def _run(command: list[str]) -> str:
    return subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        timeout=CHILD_PATIENCE,
        env=child_environment(),
    ).stdout


def _nearest_existing(path: Path) -> Path:
    return next(folder for folder in [path, *path.absolute().parents] if folder.exists())


def _print(findings: list[Finding]) -> None:
    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for finding in findings:
        verdict = f"[{colours[finding.verdict]}]{finding.verdict}[/]"
        lines = [finding.text, *([f"→ {finding.remedy}"] if finding.remedy else [])]
        table.add_row(verdict, finding.subject, "\n".join(lines))
    Console(highlight=False).print(table)
