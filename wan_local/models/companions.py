"""Models beside the checkpoints: classifiers that check, a language model that expands prompts.

Reads names only; no torch, so that the web process can ask what is here. None is needed to make a
video, and none is ever fetched by the server itself.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from wan_local.errors import BadCheckpoint, WeightsMissing


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanionSpec:
    """A kind of companion, and one of its kind that is known to work."""

    id: str
    """Also the name of its folder in the weights directory, unless a setting names another."""
    title: str
    required: tuple[str, ...]
    """Files it cannot do without, beside its safetensors."""
    repo: str | None = None
    """Hugging Face repository of the one that is known to work; None if the operator chooses."""
    files: tuple[str, ...] = ()
    """The only files of that repository that are used; empty for all of them."""
    setting: str
    """The setting that names another folder."""


IMAGE_CLASSIFIER = CompanionSpec(
    id="nsfw_image_detection",
    title="the image classifier of the safety checker",
    required=("config.json", "preprocessor_config.json"),
    # Apache-2.0, 0.34 GB; what fal's own toolkit checks with. Its repository also holds a pickle
    # and an optimizer's state of twice the size.
    repo="Falconsai/nsfw_image_detection",
    files=("config.json", "preprocessor_config.json", "model.safetensors"),
    setting="safety_classifier",
)
TEXT_CLASSIFIER = CompanionSpec(
    id="text_classifier",
    title="the text classifier of the safety checker",
    required=("config.json", "tokenizer.json"),
    setting="safety_text_classifier",
)
EXPANDER = CompanionSpec(
    id="qwen3-4b-instruct-2507",
    title="the language model for prompt expansion",
    required=("config.json", "tokenizer.json"),
    repo="Qwen/Qwen3-4B-Instruct-2507",  # Apache-2.0, 8 GB
    setting="expansion_folder",
)


def find_companion(spec: CompanionSpec, folder: Path) -> Path:
    """Return *folder*, which holds a companion of the kind *spec*.

    Raises:
        WeightsMissing: If there is no such folder; the message says how to fetch one.
        BadCheckpoint: If a file is missing or empty.
    """
    if not folder.is_dir():
        msg = f"{spec.title} is not in {folder}. {_remedy(spec, folder)}"
        raise WeightsMissing(msg)
    absent = [name for name in spec.required if not _filled(folder / name)]
    if not any(map(_filled, folder.glob("*.safetensors"))):
        absent.append("model.safetensors")
    if absent:
        msg = f"{spec.title} is incomplete: {folder / absent[0]} is missing or empty. "
        raise BadCheckpoint(msg + _remedy(spec, folder))
    return folder


def fetch_command(spec: CompanionSpec, folder: Path) -> str | None:
    """Return the shell command that puts the companion into *folder*, if we know of one."""
    if spec.repo is None:
        return None
    files = [f"--include {name}" for name in spec.files]
    command = ["hf download", spec.repo, *files, "--local-dir", shlex.quote(str(folder.absolute()))]
    return " ".join(command)


def _remedy(spec: CompanionSpec, folder: Path) -> str:
    command = fetch_command(spec, folder)
    if command is None:
        return f"The setting {spec.setting} names its folder"
    return f"This fetches it: {command}"


def _filled(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0
