"""Which weight of a model a layer's name means: a reverse table, built from the model itself.

Producers name layers as Wan's own code does (`self_attn.q`) or as diffusers does (`attn1.to_q`),
with dots or with underscores. Every name that any of them could give is made from the model's own
weights and looked up; nothing is guessed from a pattern. No torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Role = Literal["weight", "bias", "modulation"]

# diffusers' name -> Wan's own, inside a block. norm2 and norm3 are swapped on purpose: diffusers
# counts the norm before cross-attention as the second, Wan's own code as the third.
_IN_BLOCKS = (
    (".attn1.", ".self_attn."),
    (".attn2.", ".cross_attn."),
    (".to_q.", ".q."),
    (".to_k.", ".k."),
    (".to_v.", ".v."),
    (".to_out.0.", ".o."),
    (".add_k_proj.", ".k_img."),
    (".add_v_proj.", ".v_img."),
    (".norm_added_k.", ".norm_k_img."),
    (".ffn.net.0.proj.", ".ffn.0."),
    (".ffn.net.2.", ".ffn.2."),
    (".norm2.", ".norm3."),
    (".scale_shift_table.", ".modulation."),
)
_OUTSIDE = (
    ("condition_embedder.time_embedder.linear_1.", "time_embedding.0."),
    ("condition_embedder.time_embedder.linear_2.", "time_embedding.2."),
    ("condition_embedder.time_proj.", "time_projection.1."),
    ("condition_embedder.text_embedder.linear_1.", "text_embedding.0."),
    ("condition_embedder.text_embedder.linear_2.", "text_embedding.2."),
    ("condition_embedder.image_embedder.norm1.", "img_emb.proj.0."),
    ("condition_embedder.image_embedder.ff.net.0.proj.", "img_emb.proj.1."),
    ("condition_embedder.image_embedder.ff.net.2.", "img_emb.proj.3."),
    ("condition_embedder.image_embedder.norm2.", "img_emb.proj.4."),
    ("proj_out.", "head.head."),
    ("scale_shift_table.", "head.modulation."),
)
_IMAGE_EXTRAS = re.compile(
    r"blocks[._]\d+[._](?:cross_attn|attn2)[._]"
    r"(?:k_img|v_img|norm_k_img|add_k_proj|add_v_proj|norm_added_k)"
    r"|img_emb[._].*|condition_embedder[._]image_embedder[._].*"
)

Table = dict[str, dict[Role, str]]


@dataclass(frozen=True, slots=True)
class Names:
    """What layers may be called: one table for each of the two ways of naming them."""

    original: Table
    diffusers: Table

    def table_for(self, stems: Iterable[str]) -> Table:
        """Return the table that knows most of *stems*.

        One for a whole file: `norm2` means different layers in the two.
        """
        stems = list(stems)
        return max(
            (self.original, self.diffusers),
            key=lambda table: sum(stem in table for stem in stems),
        )


def names_of(weights: Iterable[str]) -> Names:
    """Return the tables of a model whose weights diffusers calls *weights*."""
    original: Table = {}
    diffusers: Table = {}
    for weight in weights:
        owner, _, leaf = weight.rpartition(".")
        if leaf in {"weight", "bias"}:
            role: Role = "weight" if leaf == "weight" else "bias"
            _enter(original, original_name(owner), role, weight)
            _enter(diffusers, owner, role, weight)
            # Attention processors of diffusers' older releases leave the index out.
            _enter(diffusers, owner.removesuffix(".0"), role, weight)
        elif leaf == "scale_shift_table":
            own = original_name(weight)
            _enter(original, own, "weight", weight)
            _enter(original, own.rpartition(".")[0], "modulation", weight)
            _enter(diffusers, weight, "weight", weight)
            _enter(diffusers, owner, "modulation", weight)
    return Names(original, diffusers)


def original_name(name: str) -> str:
    """Return what Wan's own code calls the layer, or the table, that diffusers calls *name*."""
    renames = _IN_BLOCKS if name.startswith("blocks.") else _OUTSIDE
    dotted = f"{name}."
    for ours, theirs in renames:
        if ours in dotted:
            dotted = dotted.replace(ours, theirs)
    return dotted.removesuffix(".")


def is_image_extra(stem: str) -> bool:
    """Return whether *stem* is a part that only Wan 2.1's image-to-video model has."""
    return _IMAGE_EXTRAS.fullmatch(stem) is not None


def _enter(table: Table, stem: str, role: Role, weight: str) -> None:
    for name in (stem, stem.replace(".", "_")):
        table.setdefault(name, {}).setdefault(role, weight)
