"""The reverse table, on the small model and on the published one."""

from __future__ import annotations

import pytest
import torch
from diffusers import WanTransformer3DModel

from tests.wan_local.models.loras.by_hand import LINEAR
from tests.wan_local.models.loras.worlds import MODEL
from tests.wan_local.models.test_full_size import EXPERT
from wan_local.models.loras.names import is_image_extra, names_of


@pytest.fixture(scope="module")
def published():
    with torch.device("meta"):
        module = WanTransformer3DModel(**EXPERT)
    return {name: tuple(weight.shape) for name, weight in module.named_parameters()}


@pytest.mark.parametrize("own", LINEAR)
def test_a_layer_is_found_by_each_of_its_names(own):
    """Dots and underscores, Wan's names and diffusers'."""
    names, theirs = names_of(MODEL), LINEAR[own][0]
    found = {"weight": f"{theirs}.weight", "bias": f"{theirs}.bias"}

    assert found == names.original[own] == names.original[own.replace(".", "_")]
    assert found == names.diffusers[theirs] == names.diffusers[theirs.replace(".", "_")]


def test_the_second_and_third_norms_are_swapped():
    """Each library counts the norms of a block in its own order; mixing them up is not seen."""
    names = names_of(MODEL)

    assert "blocks.0.norm2.weight" == names.original["blocks.0.norm3"]["weight"]
    assert "blocks.0.norm2.weight" == names.diffusers["blocks.0.norm2"]["weight"]
    assert "blocks.0.norm2" not in names.original
    assert "blocks.0.norm3" not in names.diffusers


def test_a_file_is_read_with_one_table():
    """`norm2` means nothing in a file of Wan's own names."""
    names = names_of(MODEL)

    own = names.table_for(["blocks.0.self_attn.q", "blocks.0.cross_attn.k", "blocks.0.norm2"])
    assert own is names.original
    assert names.diffusers is names.table_for(["blocks.0.attn1.to_q", "blocks.0.norm2"])


def test_tables_of_modulation_have_two_names():
    """lightx2v writes `diff_m` at the block, others `modulation.diff`."""
    names = names_of(MODEL)

    assert "blocks.1.scale_shift_table" == names.original["blocks.1"]["modulation"]
    assert "blocks.1.scale_shift_table" == names.original["blocks.1.modulation"]["weight"]
    assert "scale_shift_table" == names.original["head"]["modulation"]
    assert "scale_shift_table" == names.diffusers["scale_shift_table"]["weight"]


def test_every_weight_of_the_published_model_has_a_name_and_no_two_share_one(published):
    """Block 1 and block 11 must not meet where the dots are gone."""
    for table in (names_of(published).original, names_of(published).diffusers):
        reached = {weight for roles in table.values() for weight in roles.values()}
        assert published.keys() == reached
        for stem, roles in table.items():
            if "." not in stem:
                same = [other for other in table if other.replace(".", "_") == stem]
                assert all(table[other] == roles for other in same)


@pytest.mark.parametrize(
    ("stem", "extra"),
    [
        ("blocks.3.cross_attn.k_img", True),
        ("blocks_3_cross_attn_v_img", True),
        ("blocks.3.attn2.add_k_proj", True),
        ("img_emb.proj.1", True),
        ("condition_embedder.image_embedder.ff.net.2", True),
        ("blocks.3.cross_attn.k", False),
        ("vace_blocks.0.self_attn.q", False),
    ],
)
def test_image_extras_are_known_by_name(stem, extra):
    """They may be left out; anything else that fits nowhere may not."""
    assert extra is is_image_extra(stem)
