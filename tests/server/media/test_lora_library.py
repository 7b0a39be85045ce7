"""LoRAs with names."""

from __future__ import annotations

import json

import pytest

from server.media.lora_library import LoraLibrary, Sheet
from tests.server.media.lora_files import a_lora
from wan_local.errors import LoraRefused
from wan_local.models.loras.adapter_config import METADATA_KEY
from wan_local.models.loras.fitting import sha256_of
from wan_local.models.loras.header import open_header


@pytest.fixture
def library(tmp_path):
    return LoraLibrary(tmp_path / "loras")


def test_what_is_added_is_found_by_its_name(library, tmp_path):
    """A copy: the original may be moved or trained over."""
    file = a_lora(tmp_path / "downloads" / "style_v3.safetensors")
    sheet = library.add("my-style", file, "https://example.com/style")
    file.unlink()

    assert sheet == library.list()[0]
    assert ("my-style", "https://example.com/style") == (sheet.name, sheet.source)
    assert sha256_of(library.path("my-style")) == sheet.sha256
    assert library.path("my-style").stat().st_size == sheet.size_bytes


def test_a_file_put_there_by_hand_has_its_own_name(library, tmp_path):
    """Other programs' folders are copied over whole."""
    file = a_lora(tmp_path / "loras" / "by_hand.safetensors")

    assert file == library.path("by_hand")
    assert [Sheet("by_hand", sha256_of(file), file.stat().st_size)] == library.list()


def test_the_halves_of_a_pair_are_asked_for_one_by_one(library, tmp_path):
    """One name with two files would go to one expert only."""
    for half in ("high", "low"):
        library.add(f"pair@{half}", a_lora(tmp_path / f"{half}.safetensors"))

    assert "pair@low.safetensors" == library.path("pair@low").name
    with pytest.raises(LoraRefused, match="ask for pair@high and pair@low, each with its"):
        library.path("pair")


def test_what_is_removed_is_gone(library, tmp_path):
    """With its sheet, or the next file of that name would inherit it."""
    library.add("a", a_lora(tmp_path / "a.safetensors"))

    assert library.remove("a")
    assert not library.remove("a")
    assert library.path("a") is None
    assert [] == list((tmp_path / "loras").iterdir())


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".hidden", "a@middle", "a" * 65, "a\n", "ä"])
def test_a_name_is_not_a_path(library, tmp_path, name):
    """It becomes a file's name."""
    with pytest.raises(LoraRefused, match="cannot be a name"):
        library.add(name, a_lora(tmp_path / "a.safetensors"))
    assert library.path(name) is None
    assert not library.remove(name)


def test_what_is_no_safetensors_file_is_not_added(library, tmp_path):
    """It would be refused by every request for it."""
    file = tmp_path / "a.safetensors"
    file.write_bytes(b"PK\x03\x04" + bytes(100))

    with pytest.raises(LoraRefused, match="it is a zip archive"):
        library.add("a", file)
    assert [] == library.list()


def test_a_strength_beside_the_file_goes_into_it(library, tmp_path):
    """In a folder of many LoRAs, one adapter_config.json would be everybody's."""
    file = a_lora(tmp_path / "peft" / "adapter_model.safetensors")
    (tmp_path / "peft" / "adapter_config.json").write_text(json.dumps({"lora_alpha": 8, "r": 4}))
    library.add("peft", file)
    copy = open_header(library.path("peft"))

    assert {"lora_alpha": 8, "r": 4} == json.loads(copy.metadata[METADATA_KEY])
    assert open_header(file).shapes == copy.shapes
    shift = library.path("peft").stat().st_size - file.stat().st_size
    for name, info in open_header(file).tensors.items():
        assert (
            file.read_bytes()[info.begin : info.end]
            == (library.path("peft").read_bytes()[info.begin + shift : info.end + shift])
        )
        assert copy.tensors[name].begin == info.begin + shift


def test_an_edited_sheet_is_not_believed(library, tmp_path):
    """The file is what counts."""
    library.add("a", a_lora(tmp_path / "a.safetensors"))
    (tmp_path / "loras" / "a.json").write_text("[]")

    assert [("a", None)] == [(sheet.name, sheet.source) for sheet in library.list()]
