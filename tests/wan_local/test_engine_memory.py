"""When the device's memory does not suffice."""

from __future__ import annotations

import pytest
import torch

from tests.wan_local.plans import T2V, a_plan
from tests.watching import children
from wan_local.engine import _out_of_memory
from wan_local.errors import OutOfMemory
from wan_local.events import Stage

CPU = torch.device("cpu")


def test_running_out_of_memory_names_stage_size_and_amount(engine, tmp_path):
    """The client can lower one number and try again; the operator sees how much was missing."""
    full = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has ...")

    def refuse(*_):
        raise full

    with engine._models.hold(f"{T2V}/vae") as vae:
        hook = vae.decoder.register_forward_pre_hook(refuse)
    try:
        with pytest.raises(OutOfMemory) as caught:
            list(engine.run(a_plan(), tmp_path / "a.mp4"))
    finally:
        hook.remove()

    assert (
        "stage decode of 9 frames at 64×48 asked for 2.50 GiB on cpu; "
        "fewer frames or a lower resolution need less"
    ) == str(caught.value)
    assert frozenset() == engine.held
    assert [] == list(tmp_path.iterdir())
    assert [] == children()


def test_an_unknown_wording_of_torchs_is_no_second_error():
    """Its message is prose and changes between versions."""
    error = _out_of_memory(torch.OutOfMemoryError("no"), Stage.DENOISE, a_plan(), CPU)

    assert "asked for more memory on cpu" in str(error)
