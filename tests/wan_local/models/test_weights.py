"""What is said of a checkpoint that is not there, or not whole."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from tests.wan_local.plans import FAST_WAN, T2V
from wan_local.errors import BadCheckpoint, UnknownModel, WeightsMissing
from wan_local.geometry import Size, size_for
from wan_local.models.weights import (
    COMPONENTS,
    SmallCheckpoint,
    find_checkpoint,
    small_checkpoint,
)


@pytest.fixture
def own(weights, tmp_path):
    """A copy of the small checkpoint that a test may damage."""
    shutil.copytree(weights / T2V, tmp_path / T2V)
    return tmp_path


def change_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_whole_checkpoint_is_found(weights):
    """The folder is named by the model's id and nothing else."""
    assert weights / T2V == find_checkpoint(weights, T2V)


def test_missing_weights_come_with_the_command_that_fetches_them(tmp_path):
    """A newcomer copies one line from the message, with the real folder and the size in it."""
    with pytest.raises(WeightsMissing) as caught:
        find_checkpoint(tmp_path / "my weights", T2V)

    message = str(caught.value)
    assert "(126 GB)" in message
    assert str(tmp_path / "my weights" / T2V / "model_index.json") in message
    assert message.endswith(
        "hf download Wan-AI/Wan2.2-T2V-A14B-Diffusers"
        f" --local-dir '{tmp_path / 'my weights' / T2V}'"
    )


def test_a_size_that_nobody_published_is_not_invented(tmp_path):
    """No number is better than a wrong one."""
    with pytest.raises(WeightsMissing, match="Fetch it with: hf download FastVideo/"):
        find_checkpoint(tmp_path, FAST_WAN)


def test_a_model_outside_the_catalog_has_no_folder(weights):
    """A name from elsewhere never becomes a path."""
    with pytest.raises(UnknownModel):
        find_checkpoint(weights, "../etc")


@pytest.mark.parametrize("name", COMPONENTS)
def test_each_missing_file_is_named(own, name):
    """A download that stopped half way is noticed before a job waits for it."""
    lost = [own / T2V / name / file for file in COMPONENTS[name].required]
    if COMPONENTS[name].weights:
        lost.append(own / T2V / name / COMPONENTS[name].weights)
    for path in lost:
        kept = path.read_bytes()
        path.unlink()
        with pytest.raises(BadCheckpoint, match=f"{name}/{path.name} is missing or empty"):
            find_checkpoint(own, T2V)
        path.write_bytes(kept)

    assert find_checkpoint(own, T2V)


def test_an_empty_file_counts_as_missing(own):
    """A full disk leaves files of no bytes."""
    (own / T2V / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"")

    with pytest.raises(BadCheckpoint, match=r"missing or empty.*hf download"):
        find_checkpoint(own, T2V)


def test_every_shard_of_an_index_must_be_there(own):
    """The published experts are twelve files each; one missing is the usual accident."""
    folder = own / T2V / "transformer"
    whole = folder / "diffusion_pytorch_model.safetensors"
    shards = [f"diffusion_pytorch_model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    weight_map = {f"weight{i}": shard for i, shard in enumerate(shards)}
    (folder / f"{whole.name}.index.json").write_text(json.dumps({"weight_map": weight_map}))
    shutil.copy(whole, folder / shards[0])
    whole.unlink()

    with pytest.raises(BadCheckpoint, match=rf"transformer/{shards[1]} .* \(and 1 more\)"):
        find_checkpoint(own, T2V)

    for shard in shards[1:]:
        shutil.copy(folder / shards[0], folder / shard)
    assert find_checkpoint(own, T2V)


@pytest.mark.parametrize("shard", ["../../secrets", "/etc/passwd", "", "a/b", 7, None])
def test_an_index_cannot_point_out_of_its_folder(own, shard):
    """Names in a downloaded file are not paths of ours."""
    index = own / T2V / "vae" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"weight": shard}}))

    with pytest.raises(BadCheckpoint, match="no map of weights"):
        find_checkpoint(own, T2V)


def test_another_architecture_is_named(own):
    """A 5B checkpoint in the 14B's folder would otherwise fail deep inside a library."""
    change_json(own / T2V / "model_index.json", vae=["diffusers", "AutoencoderKL"])

    with pytest.raises(BadCheckpoint, match="vae must be a AutoencoderKLWan, not AutoencoderKL"):
        find_checkpoint(own, T2V)


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("transformer", "in_channels", 36),
        ("transformer_2", "in_channels", 36),
        ("vae", "z_dim", 48),
    ],
)
def test_another_kind_of_the_same_architecture_is_named(own, part, field, value):
    """An image model's folder under a text model's name has the same files and other shapes."""
    change_json(own / T2V / part / "config.json", **{field: value})

    with pytest.raises(BadCheckpoint, match=f"text to video: {field} is {value} and must be 16"):
        find_checkpoint(own, T2V)


def test_parts_that_a_kind_has_not_may_be_null_or_absent(own):
    """The published image model lists an image encoder that it has not."""
    change_json(own / T2V / "model_index.json", image_encoder=[None, None])

    assert find_checkpoint(own, T2V)


@pytest.mark.parametrize("text", ["", "[]", "{", "\xff", "[" * 100_000])
def test_an_unreadable_index_is_our_error(own, text):
    """Whatever is in the file, the job's error is a sentence."""
    (own / T2V / "model_index.json").write_text(text, encoding="latin-1")

    with pytest.raises(BadCheckpoint, match=r"model_index\.json"):
        find_checkpoint(own, T2V)


def test_every_size_of_the_api_is_scaled_by_the_small_checkpoints_table(weights):
    """A CPU has no chance at 1280×720; the table keeps shape and grid."""
    small = small_checkpoint(weights / T2V)

    for resolution in ("480p", "580p", "720p"):
        for aspect in ("16:9", "9:16", "1:1"):
            asked = size_for(resolution, aspect)
            generated = small.size_for(asked, 16)
            assert (0, 0) == (generated.width % 16, generated.height % 16)
            assert asked.width / asked.height == pytest.approx(
                generated.width / generated.height, rel=0.05
            )


def test_a_full_size_checkpoint_scales_nothing(own):
    """Without `wan_local.json` there is no table."""
    (own / T2V / "wan_local.json").unlink()

    assert None is small_checkpoint(own / T2V)


def test_what_is_small_enough_is_generated_as_asked():
    """Tests and experiments choose their own sizes below the table's largest."""
    small = SmallCheckpoint("mini", {Size(1280, 720): Size(224, 128)})

    assert Size(224, 128) == small.size_for(Size(1280, 720), 16)
    assert Size(64, 48) == small.size_for(Size(64, 48), 16)


@pytest.mark.parametrize(
    ("asked", "grid", "generated"),
    [
        (Size(1024, 1024), 16, Size(160, 160)),
        (Size(1104, 832), 16, Size(192, 144)),
        (Size(1104, 832), 32, Size(192, 128)),
        (Size(1296, 704), 16, Size(224, 128)),
        (Size(240, 128), 16, Size(32, 16)),
        (Size(4096, 4096), 16, Size(160, 160)),
        (Size(14144, 32), 32, Size(1888, 32)),
    ],
)
def test_a_size_that_is_not_in_the_table_is_scaled_as_its_nearest_is(asked, grid, generated):
    """An image's own proportions are in no table; and a CPU never gets more than it can do."""
    sizes = {Size(832, 480): Size(112, 64), Size(1280, 720): Size(224, 128)}

    assert generated == SmallCheckpoint("mini", sizes).size_for(asked, grid)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"title": "mini"},
        {"title": "mini", "sizes": {}},
        {"title": "mini", "sizes": {"wide": [16, 16]}},
        {"title": "mini", "sizes": {"64x64": [16]}},
        {"title": "mini", "sizes": {"64x64": [0, 16]}},
        {"title": "mini", "sizes": [64]},
    ],
)
def test_a_table_that_cannot_be_understood_is_refused(own, value):
    """Guessing would mean silently generating another size."""
    (own / T2V / "wan_local.json").write_text(json.dumps(value))

    with pytest.raises(BadCheckpoint, match=r"wan_local\.json"):
        small_checkpoint(own / T2V)


def test_asking_for_weights_needs_no_torch():
    """The web process and the command line ask too."""
    code = "import sys, wan_local.models.weights; sys.exit('torch' in sys.modules)"

    assert 0 == subprocess.run([sys.executable, "-c", code]).returncode
