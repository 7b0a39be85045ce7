"""Trained parts become a checkpoint that the engine opens."""

from __future__ import annotations

import json
import shutil

import pytest

from server.schemas.image import PRESETS
from wan_local.catalog import MODELS
from wan_local.geometry import Size, size_for
from wan_local.models.weights import find_checkpoint, small_checkpoint
from weights.train.assemble import TRAINED, assemble, copy_curves, place_network
from weights.train.corpus import KINDS

T2V = TRAINED[0]
RESOLUTIONS = ("480p", "580p", "720p")


@pytest.fixture
def parts(weights, tmp_path):
    """Parts as training leaves them: here those of the checkpoint with random weights."""
    for component, part in T2V.parts.items():
        shutil.copytree(weights / T2V.id / component, tmp_path / "out" / part)
    (tmp_path / "out" / "vae21" / "last.safetensors").write_bytes(b"of an optimiser")
    return tmp_path / "out"


def test_the_parts_are_a_checkpoint_that_says_what_it_is(parts, tmp_path):
    """It is found where the published one would be, and never taken for it."""
    folder = assemble(T2V, parts, tmp_path / "mini")

    assert folder == find_checkpoint(tmp_path / "mini", T2V.id)
    assert "wan2.2-t2v-a14b-mini (trained on drawn shapes)" == small_checkpoint(folder).title
    assert not (folder / "vae" / "last.safetensors").exists()


def test_where_a_part_was_made_is_not_told(parts, tmp_path):
    """Diffusers notes the folder a model was read from: one of the machine that trained it."""
    config = json.loads((parts / "vae21" / "config.json").read_text())
    noted = config | {"_name_or_path": "/home/somebody/vae"}
    (parts / "vae21" / "config.json").write_text(json.dumps(noted))
    folder = assemble(T2V, parts, tmp_path / "mini")

    assert config == json.loads((folder / "vae" / "config.json").read_text())


def test_without_a_part_nothing_is_written(parts, tmp_path):
    """Half a checkpoint fails in the middle of a job."""
    shutil.rmtree(parts / "t2v_low")
    with pytest.raises(FileNotFoundError, match="not trained yet: t2v_low"):
        assemble(T2V, parts, tmp_path / "mini")

    assert not (tmp_path / "mini").exists()


def test_other_networks_are_placed_where_the_engine_looks(parts, tmp_path):
    """A pair of LoRAs lies in a folder of its own; the optimiser's state stays behind."""
    pair = parts / "loras" / "styles"
    (pair / "blueprint").mkdir(parents=True)
    for name in ("blueprint.safetensors", "blueprint/last.safetensors"):
        (pair / name).write_bytes(b"numbers")
    placed = place_network("loras", parts, tmp_path / "mini")

    assert ["blueprint.safetensors"] == [path.name for path in placed.rglob("*.safetensors")]
    with pytest.raises(FileNotFoundError, match="interpolation/rife: not trained yet"):
        place_network("interpolation/rife", parts, tmp_path / "mini")


def test_curves_stay_with_the_weights(parts, tmp_path):
    """Under the name of the part, wherever its run was."""
    for part in ("t2v_low", "text/course"):
        (parts / part).mkdir(exist_ok=True)
        (parts / part / "curve.jsonl").write_text("{}\n")
    curves = copy_curves(parts, tmp_path / "mini")

    assert {"t2v_low.jsonl", "text-course.jsonl"} == {path.name for path in curves.iterdir()}


@pytest.mark.parametrize("trained", TRAINED, ids=lambda trained: trained.id)
def test_every_full_size_has_a_small_one_of_its_shape(trained):
    """What is not in the table is scaled, to sizes that nothing was trained at."""
    grid = 32 if trained.id == "wan2.2-ti2v-5b" else 16
    full = [size_for(r, a, grid) for r in RESOLUTIONS for a in ("16:9", "9:16", "1:1")]
    full += [Size(*PRESETS[name]) for name in ("square", "square_hd")]

    assert {str(size).replace("×", "x") for size in full} == set(trained.sizes)
    for width, height in trained.sizes.values():
        assert width % grid == height % grid == 0


@pytest.mark.parametrize("trained", TRAINED, ids=lambda trained: trained.id)
def test_what_is_asked_for_is_generated_at_sizes_that_were_trained(trained):
    """A shape is a share of the picture: at another scale it would be one never seen."""
    kinds = KINDS[MODELS[trained.id].kind]

    assert set(trained.sizes.values()) <= {(kind.width, kind.height) for kind in kinds}
