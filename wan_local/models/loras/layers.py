"""A LoRA's keys against one model's weights: which change which, what is left out and why.

Everything is settled from names and shapes, before a tensor is read. No torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from wan_local.errors import LoraRefused
from wan_local.models.loras.adapter_config import AdapterConfig
from wan_local.models.loras.family import require_family
from wan_local.models.loras.grammar import foreign_kind, take_apart
from wan_local.models.loras.names import Role, Table, is_image_extra, names_of
from wan_local.models.loras.shapes import (
    OPTIONAL,
    WHOLE,
    Kind,
    Shape,
    in_words,
    misfit,
    rank_of,
    require_matrices,
    whole_parts,
)

SHOWN = 3
"""Keys that a refusal lists; the rest is counted."""

Expert = Literal["high", "low"]

_DIFFERENCES: dict[str, Role] = {"diff": "weight", "diff_b": "bias", "diff_m": "modulation"}
_SCALING = {"alpha", "dora"}
_UNUSED = "alpha or dora_scale without a change that it scales"
_IMAGE = "image cross-attention of Wan 2.1 image-to-video, which this model does not have"
_PATCHES = "a patch embedding for {theirs}, where this model's is {ours}"


@dataclass(frozen=True, slots=True)
class Layer:
    """A change of one weight."""

    weight: str
    """By the model's own name."""
    kind: Kind
    tensors: Mapping[str, str]
    """Part -> its key in the file; `alpha` and `dora` among them, where the file has them."""
    expert: Expert | None
    """The only expert it is made for, if the file says so."""
    rank: int | None = None
    """What alpha is divided by; None if alpha does not scale it."""
    scale: float | None = None
    """What takes alpha's place where there is no alpha among the tensors."""


@dataclass(frozen=True, slots=True)
class Reading:
    """All that a file changes, and what of it is left out."""

    layers: tuple[Layer, ...]
    total: int
    """Keys in the file."""
    dropped: Mapping[str, int]
    """Reason -> keys."""


@dataclass(slots=True)
class _Group:
    """The tensors of one layer, by what part of its change they are."""

    stem: str
    expert: Expert | None
    keys: dict[str, str] = field(default_factory=dict)


def read_layers(
    file: Mapping[str, Shape], model: Mapping[str, Shape], config: AdapterConfig | None = None
) -> Reading:
    """Settle what the tensors of *file* do to the weights of *model*; both are name -> shape.

    Raises:
        LoraRefused: If the file is for another model, or holds a key that means nothing here.
    """
    groups = _groups(file)
    require_family({group.stem: (group.keys, file) for group in groups}, model)
    table = names_of(model).table_for(group.stem for group in groups)
    strange = [group for group in groups if group.stem not in table]
    extras = [group for group in strange if is_image_extra(group.stem)]
    if unknown := [key for g in strange if g not in extras for key in g.keys.values()]:
        msg = f"this model has no layer that {_listed(unknown)} could change"
        raise LoraRefused(msg)
    dropped = Counter({_IMAGE: sum(len(group.keys) for group in extras)})
    layers: list[Layer] = []
    for group in groups:
        if group.stem in table:
            layers += _fitting(
                _layers_of(group, table, file, config, dropped), file, model, dropped
            )
    return Reading(tuple(layers), len(file), {k: n for k, n in dropped.items() if n})


def _groups(file: Mapping[str, Shape]) -> list[_Group]:
    parts = {key: take_apart(key) for key in file}
    if unknown := [key for key, part in parts.items() if part is None]:
        kind = foreign_kind(unknown[0]) or "what no known LoRA layout has"
        msg = f"it holds {kind}: {_listed(unknown)}"
        raise LoraRefused(msg)
    known = {key: part for key, part in parts.items() if part is not None}
    # `transformer.` is the high-noise expert only where `transformer_2.` stands beside it.
    paired = any(part.expert == "low" for part in known.values())
    groups: dict[tuple[str, Expert | None], _Group] = {}
    for key, part in known.items():
        require_matrices(key, part.part, file[key])
        expert: Expert | None = part.expert or ("high" if part.first and paired else None)
        group = groups.setdefault((part.stem, expert), _Group(part.stem, expert))
        if part.part in group.keys:
            msg = f"{group.keys[part.part]} and {key} are the same part of one layer"
            raise LoraRefused(msg)
        group.keys[part.part] = key
    return list(groups.values())


def _layers_of(
    group: _Group,
    table: Table,
    file: Mapping[str, Shape],
    config: AdapterConfig | None,
    dropped: Counter[str],
) -> list[Layer]:
    """Return the changes that *group* makes.

    Raises:
        LoraRefused: If a part is left that belongs to none of them.
    """
    roles = table[group.stem]
    left = set(group.keys)
    layers: list[Layer] = []
    for kind in WHOLE:
        found = whole_parts(kind, left)
        if found and "weight" in roles:
            parts = found | (left & OPTIONAL[kind]) | (left & _SCALING)
            tensors = {part: group.keys[part] for part in sorted(parts)}
            rank = rank_of(kind, tensors, file)
            scale = config.scale(group.stem, rank) if config and rank else None
            layers.append(Layer(roles["weight"], kind, tensors, group.expert, rank, scale))
            left -= parts
            if "up_bias" in left and "bias" in roles:
                bias = {"diff": group.keys["up_bias"]}
                bias |= {"alpha": tensors["alpha"]} if "alpha" in tensors else {}
                layers.append(Layer(roles["bias"], "diff", bias, group.expert, rank, scale))
                left.remove("up_bias")
    for part, role in _DIFFERENCES.items():
        if part in left and role in roles:
            layers.append(Layer(roles[role], "diff", {"diff": group.keys[part]}, group.expert))
            left.remove(part)
    if orphans := [group.keys[part] for part in sorted(left - _SCALING)]:
        msg = f"{_listed(orphans)}: the other half is missing, or the layer has no such part"
        raise LoraRefused(msg)
    dropped[_UNUSED] += len(left)
    return layers


def _fitting(
    layers: Iterable[Layer],
    file: Mapping[str, Shape],
    model: Mapping[str, Shape],
    dropped: Counter[str],
) -> list[Layer]:
    """Return *layers* without those for the other kind of input, text or image.

    Raises:
        LoraRefused: If one cannot change a weight of its shape for any other reason.
    """
    fitting = []
    for layer in layers:
        theirs = misfit(layer.kind, layer.tensors, file, model[layer.weight])
        if theirs is None:
            fitting.append(layer)
        elif layer.weight.startswith("patch_embedding."):
            ours = in_words(model[layer.weight])
            dropped[_PATCHES.format(theirs=theirs, ours=ours)] += len(layer.tensors)
        else:
            key = next(iter(layer.tensors.values()))
            msg = (
                f"{key} is for a weight of {theirs}; the model's is {in_words(model[layer.weight])}"
            )
            raise LoraRefused(msg)
    return fitting


def _listed(keys: list[str]) -> str:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return f"{', '.join(keys[:SHOWN])}{more}"
