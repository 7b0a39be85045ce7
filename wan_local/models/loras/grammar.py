"""What the end of a key says: which part of a change of which layer this tensor is.

To read another spelling, add a row to `_GRAMMAR`; to name another kind that cannot be applied, one
to `_FOREIGN`. No torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_ADAPTER = r"(?:\.(?!weight$|bias$)[\w\-]+)?"
"""PEFT puts the adapter's name into the key: `lora_A.default.weight`."""

# pattern of the ending -> part; a group in the pattern is the part itself
_GRAMMAR = tuple(
    (re.compile(pattern + "$"), part)
    for pattern, part in (
        (
            r"(?:\.lora_(?:A|down)|[._]lora\.down|\.lora_linear_layer\.down)"
            + _ADAPTER
            + r"(?:\.weight)?",
            "down",
        ),
        (
            r"(?:\.lora_(?:B|up)|[._]lora\.up|\.lora_linear_layer\.up)"
            + _ADAPTER
            + r"(?:\.weight)?",
            "up",
        ),
        (r"\.lora_(?:B|up)" + _ADAPTER + r"\.bias", "up_bias"),
        (r"\.lora_mid(?:\.weight)?", "mid"),
        (r"(?:[._]lora|\.lora_linear_layer)?\.(?:lora_)?alpha", "alpha"),
        (r"\.(?:dora_scale|lora_magnitude_vector" + _ADAPTER + r"(?:\.weight)?)", "dora"),
        (r"\.(?:diff|w_norm)", "diff"),
        (r"\.(?:diff_b|b_norm)", "diff_b"),
        (r"\.diff_m", "diff_m"),
        (r"\.(hada_(?:w1_a|w1_b|w2_a|w2_b|t1|t2))", ""),
        (r"\.(lokr_(?:w1|w1_a|w1_b|w2|w2_a|w2_b|t2))", ""),
    )
)

_FOREIGN = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"\.b?oft_(?:blocks|diag|R|s|R\.weight)", "OFT rotations"),
        (r"\.[ab][12]\.weight$", "GLoRA"),
        (r"\.(?:set_weight|reshape_weight)$", "whole weights in the place of changes"),
        (r"\.(?:vera_lambda_[bd]|lora_E)", "VeRA or AdaLoRA"),
        (r"\.(?:weight|bias|modulation|scale_shift_table)$", "whole weights: a checkpoint"),
    )
)

_EXPERTS: dict[str, Literal["high", "low"]] = {
    "transformer_1.": "high",
    "transformer_2.": "low",
    "dit2.": "low",
    "high_noise_model.": "high",
    "low_noise_model.": "low",
}
_PREFIXES = (
    "base_model.model.",
    "diffusion_model.",
    "transformer.",
    "_orig_mod.",
    "module.",
    "model.",
    "pipe.",
    "unet.",
    "dit.",
)
# In these the dots of the module's name are underscores; VideoX-Fun writes one underscore more.
_FLAT = re.compile(r"(?:lora_unet|lora_transformer|lycoris)_+")


@dataclass(frozen=True, slots=True)
class KeyParts:
    """A key, taken apart."""

    stem: str
    """The layer, by whatever name the file's producer gives it, without prefixes."""
    part: str
    """`down`, `up`, `alpha`, `diff_b`, `lokr_w1`, …"""
    expert: Literal["high", "low"] | None
    """`high` or `low`, where the key says so."""
    first: bool = False
    """Whether the prefix is one that means the high-noise expert beside keys of the low one."""


def take_apart(key: str) -> KeyParts | None:
    """Return what *key* says, or None if its ending is not one of a LoRA's."""
    for pattern, part in _GRAMMAR:
        if found := pattern.search(key):
            stem, expert, first = _without_prefixes(key[: found.start()])
            return KeyParts(stem, part or found.group(1), expert, first)
    return None


def foreign_kind(key: str) -> str | None:
    """Return what *key* belongs to, if that is a known kind of file that cannot be applied."""
    return next((name for pattern, name in _FOREIGN if pattern.search(key)), None)


def _without_prefixes(stem: str) -> tuple[str, Literal["high", "low"] | None, bool]:
    expert: Literal["high", "low"] | None = None
    first = False
    if flat := _FLAT.match(stem):
        return stem[flat.end() :].replace(".processor.", "."), None, False
    while prefix := next((p for p in (*_EXPERTS, *_PREFIXES) if stem.startswith(p)), None):
        expert = _EXPERTS.get(prefix, expert)
        first = first or prefix in {"transformer.", "dit."}
        stem = stem.removeprefix(prefix)
    return stem.replace(".processor.", "."), expert, first
