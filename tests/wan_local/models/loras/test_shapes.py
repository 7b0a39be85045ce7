"""Parts that do not fit are refused by name, before they are read."""

from __future__ import annotations

import pytest

from wan_local.errors import LoraRefused
from wan_local.models.loras.shapes import (
    MAX_RANK,
    in_words,
    matrix,
    misfit,
    rank_of,
    require_matrices,
    whole_parts,
)

SQUARE = (48, 48)


@pytest.mark.parametrize(
    ("kind", "shapes", "rows_columns"),
    [
        ("lora", {"down": (4, 48), "up": (96, 4)}, (96, 48)),
        ("lora", {"down": (4, 48, 1, 1), "up": (96, 4, 1, 1)}, (96, 48)),
        ("lora", {"down": (3, 16, 1), "mid": (4, 3, 1, 2, 2), "up": (48, 4)}, (48, 64)),
        ("loha", {"hada_w1_a": (96, 4), "hada_w1_b": (4, 48)}, (96, 48)),
        (
            "loha",
            {"hada_w1_a": (4, 48), "hada_w1_b": (4, 16), "hada_t1": (4, 4, 1, 2, 2)},
            (48, 64),
        ),
        ("lokr", {"lokr_w1": (4, 4), "lokr_w2": (24, 12)}, (96, 48)),
        ("lokr", {"lokr_w1": (4, 4), "lokr_w2_a": (24, 2), "lokr_w2_b": (2, 12)}, (96, 48)),
        ("diff", {"diff": (48,)}, (48, 1)),
        ("diff", {"diff": ()}, (1, 1)),
    ],
)
def test_shapes_tell_what_the_product_is(kind, shapes, rows_columns):
    """So that a gigabyte is not read to find out that it does not fit."""
    assert rows_columns == matrix(kind, shapes)


def fit(kind, weight, **shapes):
    return misfit(kind, {part: part for part in shapes}, shapes, weight)


def test_a_change_fits_weights_of_its_shape_only():
    """Linear layers, convolutions, and differences with sides of one."""
    assert fit("lora", SQUARE, down=(4, 48), up=(48, 4)) is None
    assert fit("lora", (48, 16, 1, 2, 2), down=(4, 16, 1, 2, 2), up=(48, 4, 1, 1, 1)) is None
    assert fit("diff", (1, 6, 48), diff=(6, 48)) is None
    assert "96x48" == fit("lora", SQUARE, down=(4, 48), up=(96, 4))
    assert "6x48" == fit("diff", (1, 2, 48), diff=(6, 48))


@pytest.mark.parametrize(
    ("kind", "shapes", "sentence"),
    [
        ("lora", {"down": (4, 48), "up": (48, 8)}, "up and down have different ranks"),
        (
            "lora",
            {"down": (4, 12), "mid": (4, 3, 2, 2), "up": (48, 4)},
            "up and down have different ranks",
        ),
        (
            "loha",
            {
                "hada_w1_a": (48, 4),
                "hada_w1_b": (4, 48),
                "hada_w2_a": (24, 4),
                "hada_w2_b": (4, 96),
            },
            "hada_w2_a belongs to a product of another shape",
        ),
        (
            # Found by a fuzzer: it multiplied as far as the fourth side and no farther.
            "lokr",
            {"lokr_w1": (12, 4), "lokr_w2_a": (4, 4, 1, 2, 2), "lokr_w2_b": (4, 12)},
            "lokr_w2_a and lokr_w2_b have different ranks",
        ),
        ("lora", {"down": (4, 48), "up": (48, 4), "dora": (47,)}, "dora is 47 for 48x48"),
    ],
)
def test_parts_that_do_not_fit_one_another_are_refused(kind, shapes, sentence):
    """A broken file, whatever model it is for."""
    with pytest.raises(LoraRefused, match=sentence):
        fit(kind, SQUARE, **shapes)


@pytest.mark.parametrize("dora", [(96,), (96, 1), (1, 48)])
def test_dora_has_a_length_for_each_row_or_each_column(dora):
    """Which of the two, its shape says."""
    assert fit("lora", (96, 48), down=(4, 48), up=(96, 4), dora=dora) is None


@pytest.mark.parametrize("dora", [(48,), (48, 1), (1, 96)])
def test_dora_of_the_other_side_is_refused_before_a_gpu_is_asked_for(dora):
    """The right number of lengths in the wrong shape was an error in the middle of a job."""
    with pytest.raises(LoraRefused, match=f"dora is {in_words(dora)} for 96x48"):
        fit("lora", (96, 48), down=(4, 48), up=(96, 4), dora=dora)


def test_dora_needs_rows_and_columns():
    """A norm's weight has neither."""
    with pytest.raises(LoraRefused, match="dora is 48 for 48"):
        fit("lora", (48,), down=(1, 1), up=(48, 1), dora=(48,))


def test_a_rank_has_an_end():
    """A LoRA of rank 5120 is a checkpoint in disguise and takes as much memory."""
    assert 64 == rank_of("lora", {"down": "a"}, {"a": (64, 48)})
    assert rank_of("lokr", {"lokr_w1": "a", "lokr_w2": "b"}, {"a": (4, 4), "b": (9, 9)}) is None
    with pytest.raises(LoraRefused, match="a has rank 1025; 1024 is the most"):
        rank_of("lora", {"down": "a"}, {"a": (MAX_RANK + 1, 48)})


def test_matrices_and_numbers_are_told_apart():
    """Indexing a scalar would be our error and not the file's."""
    require_matrices("a", "alpha", ())
    require_matrices("a", "diff_b", (5,))
    with pytest.raises(LoraRefused, match="a is one number in a LoRA, and here it is 2x2"):
        require_matrices("a", "alpha", (2, 2))
    with pytest.raises(LoraRefused, match="a is a matrix in a LoRA, and here it is one number"):
        require_matrices("a", "down", ())


def test_parts_make_a_whole_or_nothing():
    """Half a pair changes nothing and must not be passed over."""
    assert {"down", "up"} == whole_parts("lora", {"down", "up", "alpha"})
    assert not whole_parts("lora", {"down", "alpha"})
    assert not whole_parts("lokr", {"lokr_w1", "lokr_w1_a", "lokr_w2"})
    assert {"lokr_w1", "lokr_w2_a", "lokr_w2_b"} == whole_parts(
        "lokr", {"lokr_w1", "lokr_w2_a", "lokr_w2_b"}
    )


def test_shapes_read_as_people_write_them():
    """They stand in answers to clients."""
    assert ("48x16", "one number") == (in_words((48, 16)), in_words(()))
