"""What can compute here."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from wan_local.errors import WanLocalError
from wan_local.models.devices import compute_dtype, device_name, devices


def test_the_module_prints_what_it_finds_as_json():
    """The server asks a child, so that it never loads torch itself."""
    child = subprocess.run(
        [sys.executable, "-m", "wan_local.models.devices"], capture_output=True, check=True
    )

    found = json.loads(child.stdout)
    assert torch.cuda.device_count() == len(found)
    assert all({"device", "name", "memory_gb"} == gpu.keys() for gpu in found)
    assert [gpu.device for gpu in devices()] == [gpu["device"] for gpu in found]


def test_the_cpu_is_called_by_its_name():
    """It is what `hello` and the logs show."""
    assert "cpu" == device_name("cpu")


@pytest.mark.parametrize("device", ["cuda:99", "tpu", ""])
def test_a_device_that_is_not_here_is_answered_with_those_that_are(device):
    """A typing error in the settings is mended from the message."""
    with pytest.raises(WanLocalError, match=f"no device {device!r} here; found: cpu"):
        device_name(device)


def test_a_gpu_computes_in_bfloat16_and_a_cpu_in_float32():
    """Wan was trained in bfloat16; a CPU is slow at it, and the oracle is float32."""
    assert torch.bfloat16 == compute_dtype(torch.device("cuda:0"))
    assert torch.float32 == compute_dtype(torch.device("cpu"))
