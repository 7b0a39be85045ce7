"""What the parts of a change can be multiplied into, told from their shapes alone. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Literal

from wan_local.errors import LoraRefused

MAX_RANK = 1024

Kind = Literal["lora", "loha", "lokr", "diff"]
Shape = tuple[int, ...]

# kind -> the sets of parts that make one whole
WHOLE: dict[Kind, tuple[frozenset[str], ...]] = {
    "lora": (frozenset({"down", "up"}),),
    "loha": (frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}),),
    "lokr": tuple(
        frozenset({*first, *second})
        for first in (("lokr_w1",), ("lokr_w1_a", "lokr_w1_b"))
        for second in (
            ("lokr_w2",),
            ("lokr_w2_a", "lokr_w2_b"),
            ("lokr_t2", "lokr_w2_a", "lokr_w2_b"),
        )
    ),
}
OPTIONAL: dict[Kind, frozenset[str]] = {
    "lora": frozenset({"mid"}),
    "loha": frozenset({"hada_t1", "hada_t2"}),
    "lokr": frozenset(),
}
# Halves, and the tensor in their middle: down's last side meets its second, up's its first.
_PAIRS = (
    ("up", "down", "mid"),
    ("hada_w1_a", "hada_w1_b", "hada_t1"),
    ("hada_w2_a", "hada_w2_b", "hada_t2"),
    ("lokr_w1_a", "lokr_w1_b", "lokr_t1"),
    ("lokr_w2_a", "lokr_w2_b", "lokr_t2"),
)
_SCALARS = {"alpha"}
_ANY = {"dora", "diff", "diff_b", "diff_m", "up_bias"}


def require_matrices(key: str, part: str, shape: Shape) -> None:
    """Refuse a scalar where a matrix is needed, and the reverse.

    Raises:
        LoraRefused: If *shape* cannot be that of *part*.
    """
    if part in _SCALARS and prod(shape) != 1:
        msg = f"{key} is one number in a LoRA, and here it is {in_words(shape)}"
        raise LoraRefused(msg)
    if part not in _SCALARS | _ANY and len(shape) < 2:
        msg = f"{key} is a matrix in a LoRA, and here it is {in_words(shape)}"
        raise LoraRefused(msg)


def whole_parts(kind: Kind, parts: Iterable[str]) -> frozenset[str]:
    """Return those of *parts* that make a whole change of *kind*; none if something is missing."""
    found = frozenset(parts) & frozenset().union(*WHOLE[kind])
    return found if found in WHOLE[kind] else frozenset()


def rank_of(kind: Kind, tensors: Mapping[str, str], file: Mapping[str, Shape]) -> int | None:
    """Return the rank of a change; None for a LoKr of whole factors, which alpha does not scale.

    Raises:
        LoraRefused: If it is higher than any LoRA needs.
    """
    holders = {"lora": ("down",), "loha": ("hada_w1_b",), "lokr": ("lokr_w2_b", "lokr_w1_b")}
    holder = next((part for part in holders[kind] if part in tensors), None)
    if holder is None:
        return None
    rank = file[tensors[holder]][0]
    if rank > MAX_RANK:
        msg = f"{tensors[holder]} has rank {rank}; {MAX_RANK} is the most that is taken"
        raise LoraRefused(msg)
    return rank


def matrix(kind: Kind, shapes: Mapping[str, Shape]) -> tuple[int, int]:
    """Return rows and columns of the matrix that parts of *shapes* make."""
    if kind == "lora":
        return _product(shapes, "up", "down", "mid")
    if kind == "loha":
        return _product(shapes, "hada_w1_a", "hada_w1_b", "hada_t1")
    if kind == "lokr":
        first = _factor(shapes, "lokr_w1")
        second = _factor(shapes, "lokr_w2")
        return first[0] * second[0], first[1] * second[1]
    return next(iter(shapes["diff"]), 1), prod(shapes["diff"][1:])


def misfit(
    kind: Kind, tensors: Mapping[str, str], file: Mapping[str, Shape], weight: Shape
) -> str | None:
    """Return the shape a change is for, in words, if that is not *weight*.

    Raises:
        LoraRefused: If its parts do not fit one another.
    """
    shapes = {part: file[key] for part, key in tensors.items()}
    if kind == "diff":
        fits = _squeezed(shapes["diff"]) == _squeezed(weight)
        return None if fits else in_words(shapes["diff"])
    _require_meeting(tensors, shapes)
    rows, columns = matrix(kind, shapes)
    if (rows, rows * columns) != (weight[0], prod(weight)):
        return in_words((rows, columns))
    if kind == "loha" and _product(shapes, "hada_w2_a", "hada_w2_b", "hada_t2") != (rows, columns):
        msg = f"{tensors['hada_w2_a']} belongs to a product of another shape than its first factor"
        raise LoraRefused(msg)
    if "dora" in shapes and prod(shapes["dora"]) != _lengths(shapes["dora"], weight):
        msg = f"{tensors['dora']} is {in_words(shapes['dora'])} for {in_words(weight)}"
        raise LoraRefused(msg)
    return None


def by_column(magnitude: Shape) -> bool:
    """Return whether DoRA's lengths are those of columns: they are written as one row then."""
    return len(magnitude) > 1 and magnitude[0] == 1 and magnitude[1] > 1


def in_words(shape: Shape) -> str:
    """Return *shape* as people write it."""
    return "x".join(map(str, shape)) or "one number"


def _product(shapes: Mapping[str, Shape], left: str, right: str, middle: str) -> tuple[int, int]:
    if middle not in shapes:
        return shapes[left][0], prod(shapes[right][1:])
    # LoCon keeps its outer half the other way round than LyCORIS's Tucker decompositions.
    rows = shapes[left][0] if left == "up" else prod(shapes[left][1:])
    return rows, prod(shapes[right][1:]) * prod(shapes[middle][2:])


def _lengths(magnitude: Shape, weight: Shape) -> int:
    """Return how many numbers *magnitude* needs; none will do for what has no rows and columns."""
    if len(weight) < 2:
        return 0
    return weight[1] if by_column(magnitude) else weight[0]


def _factor(shapes: Mapping[str, Shape], name: str) -> tuple[int, int]:
    if name in shapes:
        return shapes[name][0], prod(shapes[name][1:])
    return _product(shapes, f"{name}_a", f"{name}_b", "lokr_t2" if name == "lokr_w2" else "")


def _require_meeting(tensors: Mapping[str, str], shapes: Mapping[str, Shape]) -> None:
    for left, right, middle in _PAIRS:
        if left not in shapes:
            continue
        if middle in shapes:
            # As in `_product`: the rank is up's second side, and LyCORIS's first.
            outer = prod(shapes[left][1:]) if left == "up" else shapes[left][0]
            meeting = shapes[middle][:2] == (outer, shapes[right][0])
        else:
            meeting = prod(shapes[left][1:]) == shapes[right][0]
        if not meeting:
            msg = f"{tensors[left]} and {tensors[right]} have different ranks"
            raise LoraRefused(msg)


def _squeezed(shape: Shape) -> Shape:
    return tuple(side for side in shape if side != 1)
