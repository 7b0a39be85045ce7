"""What the experts compute in, in words."""

from __future__ import annotations

import torch

from wan_local.models.precision import Precision


def test_what_runs_is_said_in_one_line():
    """Two videos that differ for no other reason are told apart by it."""
    assert "precision: the experts are bfloat16" == str(Precision(torch.bfloat16, "none"))
    assert ("precision: the experts are float32, their blocks' linear weights kept as int8") == str(
        Precision(torch.float32, "int8")
    )


def test_a_record_has_it_in_the_settings_words():
    """So that `inspect --replay` can set them."""
    precision = Precision(torch.bfloat16, "float8")

    assert {"dtype": "bfloat16", "quantization": "float8"} == precision.record
