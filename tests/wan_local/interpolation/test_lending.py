"""An interpolator is a component like any other, lent for one video."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from tests.wan_local.interpolation.pictures import moving
from wan_local.errors import BadCheckpoint, WeightsMissing
from wan_local.geometry import Size
from wan_local.interpolation.lending import is_interpolator, load_interpolator, smoother
from wan_local.interpolation.rife import Rife, RifeLayout
from wan_local.models.residency import Residency
from wan_local.plan import InterpolationSpec

CPU = torch.device("cpu")
SIZE = Size(64, 64)


@pytest.fixture
def weights_dir(tmp_path):
    """A RIFE that nobody trained."""
    folder = tmp_path / "interpolation" / "rife"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    save_file(Rife(RifeLayout((8, 8, 8, 8))).state_dict(), folder / "rife.safetensors")
    return tmp_path


def residency(weights_dir):
    return Residency(lambda name: load_interpolator(name, weights_dir, CPU), CPU)


def test_the_stream_has_the_plans_frames_in_it(weights_dir):
    """Held while the video is made, and given back."""
    models = residency(weights_dir)
    source = torch.cat(moving(64, 64, shift=(1, 0)))
    with smoother(InterpolationSpec(model="rife", frames_between=2), SIZE, models) as smoothing:
        assert {"interpolation/rife"} == models.held
        made = list(smoothing(iter([source])))

    assert 4 == len(made)
    assert frozenset() == models.held
    assert smoothing.shortage is None


@pytest.mark.parametrize("spec", [None, InterpolationSpec(model="film", frames_between=0)])
def test_a_plan_without_new_frames_loads_nothing(weights_dir, spec):
    """FILM is 138 MB in float32."""
    models = residency(weights_dir)
    with smoother(spec, SIZE, models) as smoothing:
        assert smoothing is None

    assert frozenset() == models.loaded


def test_weights_that_are_not_here_are_missed(weights_dir):
    """The policy looks before; a folder may be emptied after."""
    spec = InterpolationSpec(model="film", frames_between=1)

    with (
        pytest.raises(WeightsMissing, match="hf download"),
        smoother(spec, SIZE, residency(weights_dir)),
    ):
        pass


def test_a_broken_file_is_named(weights_dir):
    """The job ends with a sentence, and the next one is served."""
    (weights_dir / "interpolation" / "rife" / "rife.safetensors").write_bytes(b"half of it")
    spec = InterpolationSpec(model="rife", frames_between=1)

    with (
        pytest.raises(BadCheckpoint, match=r"rife\.safetensors"),
        smoother(spec, SIZE, residency(weights_dir)),
    ):
        pass


def test_what_memory_has_cost_is_said(weights_dir):
    """Quality that was given up is not given up in silence."""
    models = residency(weights_dir)
    refused = []

    def refuse_once(_module, _inputs):
        if not refused:
            refused.append(True)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")

    with smoother(InterpolationSpec(model="rife", frames_between=1), SIZE, models) as smoothing:
        with models.hold("interpolation/rife") as network:
            network.block0.register_forward_pre_hook(refuse_once)
        made = list(smoothing(iter([torch.cat(moving(64, 64, shift=(1, 0)))])))

    assert 3 == len(made)
    assert "cut into 2 tiles" in smoothing.shortage


def test_components_of_checkpoints_are_none_of_these():
    """The engine asks before it opens a checkpoint."""
    assert is_interpolator("interpolation/rife")
    assert not is_interpolator("wan2.2-t2v-a14b/vae")
