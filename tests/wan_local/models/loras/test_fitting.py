"""What can be told of a file while the GPUs are busy."""

from __future__ import annotations

import hashlib

import pytest

from tests.wan_local.models.loras.by_hand import original, pairs, with_image_keys
from tests.wan_local.models.loras.worlds import written
from tests.wan_local.plans import T2V
from wan_local.errors import LoraRefused
from wan_local.models.loras.fitting import fit


def test_a_file_s_fit_is_told_from_its_header(weights, tmp_path):
    """The same report that the job's log will have."""
    path = written(pairs(), tmp_path)
    report = fit(path, weights / T2V)

    assert (60, 60, 20, (4,)) == (report.applied, report.total, report.weights, report.ranks)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == report.sha256
    assert 0 == report.unscaled


def test_a_strength_that_nobody_wrote_down_is_said(weights, tmp_path):
    """PEFT keeps it in another file, which an upload leaves behind."""
    report = fit(written(original(), tmp_path), weights / T2V)

    assert "20 changes have no alpha and are taken at full strength" in report.lines()


def test_what_changes_nothing_does_not_fit(weights, tmp_path):
    """Coverage 0, before a GPU has been waited for."""
    lora = with_image_keys()
    lora.file = {key: part for key, part in lora.file.items() if "img" in key}

    with pytest.raises(LoraRefused, match="none of its keys changes this model"):
        fit(written(lora, tmp_path), weights / T2V)
