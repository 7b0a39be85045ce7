"""Where interpolators are looked for, and what is said when they are not there."""

from __future__ import annotations

import pytest

from wan_local.catalog import INTERPOLATORS
from wan_local.errors import BadCheckpoint, InvalidPlan, WeightsMissing
from wan_local.models.interpolators import find_interpolator


def put(root, name, *files):
    folder = root / "interpolation" / name
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"x")
    return folder


@pytest.mark.parametrize(
    "files",
    [
        ["frame_interpolation/rife_v4.26.safetensors", ".cache/huggingface/x.safetensors"],
        ["flownet.param", "flownet.bin"],
        ["rife.safetensors", "flownet.pkl"],
    ],
)
def test_the_one_file_of_weights_is_found(files, tmp_path):
    """However deep `hf download` puts it; what it notes down for itself is not it."""
    folder = put(tmp_path, "rife", *files)

    assert folder / files[0] == find_interpolator(tmp_path, "rife")


@pytest.mark.parametrize("name", INTERPOLATORS)
def test_weights_that_are_not_here_come_with_their_command(name, tmp_path):
    """The one thing the operator has to do."""
    command = f"hf download Comfy-Org/frame_interpolation frame_interpolation/{name}"

    with pytest.raises(WeightsMissing, match=command):
        find_interpolator(tmp_path, name)


def test_a_pickle_is_to_be_converted_first(tmp_path):
    """It is what RIFE's own page offers, and the server does not open it."""
    put(tmp_path, "rife", "my flownet.pkl")

    with pytest.raises(WeightsMissing, match=r"interpolation\.convert '.*my flownet\.pkl'"):
        find_interpolator(tmp_path, "rife")


def test_two_files_are_a_question(tmp_path):
    """Which of them made a video must never depend on the order of a listing."""
    put(tmp_path, "rife", "a.safetensors", "b.safetensors")

    with pytest.raises(BadCheckpoint, match=r"one file of weights, not 2: .*a\.safetensors"):
        find_interpolator(tmp_path, "rife")


def test_an_unknown_name_is_refused(tmp_path):
    """Only what the catalog lists has a folder."""
    with pytest.raises(InvalidPlan, match="known: rife, film"):
        find_interpolator(tmp_path, "../film")
