"""Reading a file once, whole."""

from __future__ import annotations

import hashlib
import tracemalloc

import pytest
import torch

from tests.wan_local.models.loras.by_hand import original, pairs
from tests.wan_local.models.loras.worlds import MODEL, written
from wan_local.errors import LoraRefused
from wan_local.models.loras import adapter as adapter_module
from wan_local.models.loras.adapter import read_adapter


def test_it_is_known_by_its_bytes_and_takes_no_more_memory_than_they(tmp_path):
    """Low rank is what makes keeping it worthwhile: merged, it would be as large as the model."""
    path = written(original(), tmp_path)
    adapter = read_adapter(path, MODEL)

    assert hashlib.sha256(path.read_bytes()).hexdigest() == adapter.sha256
    assert path.stat().st_size == adapter.size
    assert 20 == len(adapter.changes)


def test_a_file_is_in_memory_once_while_it_is_read(tmp_path):
    """One may have 4 GB, and the experts are in host memory as well."""
    path = written(original(), tmp_path)
    with path.open("ab") as file:
        file.truncate(60_000_000)
    tracemalloc.start()
    with pytest.raises(LoraRefused, match="its tensors end"):
        read_adapter(path, MODEL)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert 60_000_000 < most < 80_000_000


def test_a_file_that_was_swapped_is_refused(tmp_path):
    """What was checked at submission is what runs."""
    path = written(original(), tmp_path)

    with pytest.raises(LoraRefused, match="the file has changed since"):
        read_adapter(path, MODEL, "0" * 64)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e5m2])
def test_numbers_that_are_not_finite_are_refused(tmp_path, number, dtype):
    """One NaN makes every pixel of every frame black."""
    lora = original()
    key = "diffusion_model.blocks.1.ffn.2.lora_B.weight"
    lora.file[key][3, 2] = number
    lora.file[key] = lora.file[key].to(dtype)

    with pytest.raises(LoraRefused, match=r"blocks.1.ffn.2.lora_B.weight holds a number"):
        read_adapter(written(lora, tmp_path), MODEL)


def test_alpha_in_the_tensors_comes_before_the_one_beside_them(tmp_path):
    """It is the more particular of the two."""
    lora = pairs()
    lora.beside = {"lora_alpha": 99}
    adapter = read_adapter(written(lora, tmp_path), MODEL)

    assert {0.5} == {change.scale for changes in adapter.changes.values() for change in changes}


def test_a_file_past_the_limit_is_not_read(tmp_path, monkeypatch):
    """It would be in memory before anybody asked how large it is."""
    monkeypatch.setattr(adapter_module, "MAX_BYTES", 100)

    with pytest.raises(LoraRefused, match="a LoRA may have"):
        read_adapter(written(original(), tmp_path), MODEL)


def test_a_file_that_is_gone_is_refused(tmp_path):
    """Jobs wait; files are removed."""
    with pytest.raises(LoraRefused, match="cannot be read: No such file"):
        read_adapter(tmp_path / "gone.safetensors", MODEL)
