"""What a plan's LoRAs are, what is said of them, and what is kept of them."""

from __future__ import annotations

import hashlib

import pytest

from tests.wan_local.models.loras.by_hand import combo, original, pairs, with_image_keys
from tests.wan_local.models.loras.worlds import MODEL, written
from wan_local.errors import LoraRefused, WeightsMissing
from wan_local.models.loras.shelf import LoraShelf
from wan_local.plan import LoraRef, SourceFile

TURBO = "wan2.2-t2v-a14b-4step"


def a_ref(path, **changes):
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    file = SourceFile(path=str(path), sha256=sha256)
    return LoraRef(**{"name": path.name, "file": file, **changes})


def take(shelf, *refs):
    return shelf.take(refs, "small", MODEL)


def test_a_lora_goes_to_the_expert_it_is_asked_for(tmp_path):
    """By default that is the high-noise expert alone, as at fal."""
    path = written(pairs(), tmp_path, "style.safetensors")
    selection = take(LoraShelf(tmp_path), a_ref(path), a_ref(path, target="both", scale=0.5))

    assert [{"high"}, {"high", "low"}] == [set(lora.experts) for lora in selection.loras]
    assert [1.0, 0.5] == [lora.scale for lora in selection.loras]
    assert (
        "LoRA style.safetensors: applied to the high-noise expert only, scale 1"
        == (selection.notes[1])
    )
    assert "LoRA style.safetensors: applied to both experts, scale 0.5" == selection.notes[3]
    assert () == selection.warnings


def test_what_was_left_out_is_in_the_notes(tmp_path):
    """The report goes to whoever sent the file."""
    selection = take(LoraShelf(tmp_path), a_ref(written(with_image_keys(), tmp_path)))

    assert "60 of 74 keys change 20 weights; rank 4" in selection.notes[0]
    assert "14 keys left out: image cross-attention" in selection.notes[1]


def test_a_half_in_the_wrong_place_is_warned_of(tmp_path):
    """The default is high; a client with a pair forgets to say low for its second."""
    path = written(pairs(), tmp_path, "style_low_noise.safetensors")
    selection = take(LoraShelf(tmp_path), a_ref(path))

    assert (
        "LoRA style_low_noise.safetensors: its name says low-noise, "
        "and it is applied to the high-noise expert",
    ) == selection.warnings


def test_a_file_for_the_other_expert_is_refused(tmp_path):
    """It would change nothing, and nobody would be told."""
    path = written(pairs(prefix="transformer_2."), tmp_path)

    with pytest.raises(LoraRefused, match=r"all its keys are for the low-noise expert.* 'high'"):
        take(LoraShelf(tmp_path), a_ref(path))
    assert take(LoraShelf(tmp_path), a_ref(path, target="both")).loras


def test_a_file_of_which_nothing_is_left_is_refused(tmp_path):
    """Coverage 0."""
    lora = with_image_keys()
    lora.file = {key: part for key, part in lora.file.items() if "img" in key}

    with pytest.raises(LoraRefused, match=r"LoRA adapter_model.*none of its keys changes"):
        take(LoraShelf(tmp_path), a_ref(written(lora, tmp_path)))


def test_both_halves_in_one_file_are_used_as_asked(tmp_path):
    """ai-toolkit's combined files with fal's default target."""
    path = written(combo("transformer_1.", "transformer_2."), tmp_path)
    selection = take(LoraShelf(tmp_path), a_ref(path, target="both"))

    assert "its keys are for the high-noise and low-noise expert" in selection.notes[1]


def test_a_pair_of_the_catalog_is_found_by_its_name(weights):
    """Its two files go to their experts, whatever the plan's target."""
    selection = take(LoraShelf(weights), LoraRef(name=TURBO, target="both"))

    assert [{"high"}, {"low"}] == [set(lora.experts) for lora in selection.loras]
    assert "high_noise_lora_rank64_lightx2v_4step_1217.safetensors: 60 of 60" in selection.notes[0]


def test_a_pair_that_is_not_here_is_refused_or_said(tmp_path):
    """Four steps on the base weights make a blur; an operator may want that while testing."""
    shelf = LoraShelf(tmp_path)

    with pytest.raises(WeightsMissing, match=r"hf download lightx2v/Wan2.2-Distill-Loras wan2.2"):
        take(shelf, LoraRef(name=TURBO, target="both"))
    selection = take(shelf, LoraRef(name=TURBO, target="both", required=False))
    assert (
        f"LoRA {TURBO} is not on this machine: the base weights are used",
    ) == selection.warnings
    assert () == selection.loras


def test_a_lora_is_read_once(tmp_path):
    """Reading and checking a gigabyte takes seconds, and clients send the same ones all day."""
    shelf = LoraShelf(tmp_path)
    path = written(original(), tmp_path)
    first, second = (take(shelf, a_ref(path)).loras[0].adapter for _ in range(2))

    assert first is second
    assert path.stat().st_size == shelf.size


def test_a_file_that_was_replaced_is_read_anew(tmp_path):
    """A training run writes to the same name again and again."""
    shelf = LoraShelf(tmp_path)
    first = take(shelf, a_ref(written(original(), tmp_path))).loras[0].adapter
    second = take(shelf, a_ref(written(original(seed=8), tmp_path))).loras[0].adapter

    assert first.sha256 != second.sha256


def test_the_shelf_has_an_end(tmp_path):
    """Host memory is what two experts leave of it; who was used least recently goes."""
    paths = [written(original(seed=n), tmp_path, f"{n}.safetensors") for n in range(3)]
    size = paths[0].stat().st_size
    shelf = LoraShelf(tmp_path, max_bytes=2 * size)
    first = take(shelf, a_ref(paths[0])).loras[0].adapter
    for path in (paths[1], paths[0], paths[2]):
        take(shelf, a_ref(path))

    assert 2 * size == shelf.size
    assert first is take(shelf, a_ref(paths[0])).loras[0].adapter


def test_what_is_larger_than_the_shelf_is_used_and_not_kept(tmp_path):
    """A bound is a bound."""
    shelf = LoraShelf(tmp_path, max_bytes=10)

    assert take(shelf, a_ref(written(original(), tmp_path))).loras
    assert 0 == shelf.size


def test_a_refusal_names_the_lora(tmp_path):
    """A request may bring several."""
    path = tmp_path / "style.safetensors"
    path.write_bytes(b"PK\x03\x04" + bytes(100))

    with pytest.raises(LoraRefused, match=r"^LoRA style.safetensors: it is a zip archive"):
        take(LoraShelf(tmp_path), a_ref(path))
