"""Where LoRAs and the shapes they must fit are found."""

from __future__ import annotations

import pytest

from tests.wan_local.models.loras.worlds import MODEL
from tests.wan_local.plans import T2V
from wan_local.catalog import LORAS
from wan_local.errors import BadCheckpoint, LoraRefused, WeightsMissing
from wan_local.models.loras.files import (
    expert_shapes,
    fetch_lora_command,
    lora_files,
    require_loras,
)
from wan_local.plan import LoraRef, SourceFile

TURBO = "wan2.2-t2v-a14b-4step"


def test_a_file_of_the_request_is_where_the_request_says(tmp_path):
    """It was fetched and checked before a GPU was asked for."""
    ref = LoraRef(name="a", target="low", file=SourceFile(path="/a/b", sha256="0" * 64))

    assert [("low", "/a/b")] == [(target, str(path)) for target, path in lora_files(tmp_path, ref)]


@pytest.mark.parametrize("id", LORAS)
def test_the_small_checkpoints_have_every_pair(weights, id):
    """Turbo endpoints run in tests and demos."""
    files = lora_files(weights, LoraRef(name=id, target="both"))

    assert ["high", "low"] == [target for target, _ in files]
    assert all(path.is_file() and target in path.name for target, path in files)


def test_a_pair_of_which_a_half_is_missing_is_missing(weights, tmp_path):
    """One half alone makes a worse video than none."""
    spec = LORAS[TURBO]
    folder = tmp_path / "loras" / TURBO
    folder.mkdir(parents=True)
    (folder / spec.high).write_bytes(b"there")

    with pytest.raises(WeightsMissing, match=f"there is no .*{spec.low}"):
        require_loras(tmp_path, [LoraRef(name=TURBO, target="both")])
    require_loras(tmp_path, [LoraRef(name=TURBO, target="both", required=False)])
    require_loras(weights, [LoraRef(name=TURBO, target="both")])


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    """A plan from another release may name one."""
    with pytest.raises(LoraRefused, match=f"unknown LoRA 'x'; known: {TURBO}"):
        lora_files(tmp_path, LoraRef(name="x"))


def test_the_command_fetches_two_files_into_the_folder(tmp_path):
    """The repository holds many more."""
    spec = LORAS[TURBO]
    folder = tmp_path / "my weights" / "loras" / TURBO

    assert f"hf download {spec.repo} {spec.high} {spec.low} --local-dir '{folder}'" == (
        fetch_lora_command(tmp_path / "my weights", spec)
    )


def test_an_expert_s_shapes_are_read_from_its_files(weights):
    """So that the server can tell what fits without torch."""
    assert MODEL == expert_shapes(weights / T2V)


def test_a_broken_checkpoint_is_called_one(tmp_path):
    """It is not the LoRA's fault."""
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "diffusion_pytorch_model.safetensors").write_bytes(b"x" * 100)

    with pytest.raises(BadCheckpoint, match="it is not a safetensors file"):
        expert_shapes(tmp_path)
