"""The report that stands in a job's log."""

from __future__ import annotations

import pytest

from tests.wan_local.models.loras.by_hand import combo, with_image_keys
from tests.wan_local.models.loras.worlds import MODEL, shapes_of
from wan_local.models.loras.coverage import coverage, guessed_expert
from wan_local.models.loras.layers import read_layers

SHA = "ab" * 32


def test_the_report_counts_what_was_applied_and_what_was_not():
    """People share these lines when a LoRA does not look right."""
    report = coverage(read_layers(shapes_of(with_image_keys()), MODEL), SHA)

    assert [
        f"60 of 74 keys change 20 weights; rank 4; sha256 {SHA}",
        "14 keys left out: image cross-attention of Wan 2.1 image-to-video, "
        "which this model does not have",
    ] == report.lines()


def test_a_file_with_both_halves_says_so():
    """With the default target only one of them is used."""
    report = coverage(read_layers(shapes_of(combo("transformer_1.", "transformer_2.")), MODEL), SHA)

    assert "its keys are for the high-noise and low-noise expert" == report.lines()[-1]
    assert 40 == report.weights


@pytest.mark.parametrize(
    ("name", "expert"),
    [
        ("my_style_high_noise.safetensors", "high"),
        ("MyStyle-LowNoise.safetensors", "low"),
        ("wan22_style_HN.safetensors", "high"),
        ("style-l.safetensors", "low"),
        ("my-style@high", "high"),
        ("high_noise_model.safetensors", "high"),
        ("my_style.safetensors", None),
        ("high_and_low.safetensors", None),
        ("lightning", None),
    ],
)
def test_a_file_s_name_may_say_which_half_it_is(name, expert):
    """Half of all pairs are loaded the wrong way round at least once."""
    assert expert == guessed_expert(name)
