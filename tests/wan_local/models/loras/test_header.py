"""Nothing is read of a file that is not what it should be, and the refusal says what it is."""

from __future__ import annotations

import io
import json
import pickle
import struct
import time
import zipfile

import pytest

from tests.shared_data import shared
from tests.wan_local.models.loras.by_hand import original
from tests.wan_local.models.loras.worlds import shapes_of, written
from wan_local.errors import LoraRefused
from wan_local.models.loras import header
from wan_local.models.loras.header import MAX_TENSORS, open_header, read_header

ATTACKS = (
    "7_bytes",
    "bad_dtype",
    "deep_json",
    "dup_key",
    "empty_file",
    "hole",
    "key_traversal",
    "len_1GB",
    "len_263",
    "len_264-1",
    "meta_non-str",
    "neg",
    "not_utf8",
    "overlap",
    "past_end",
    "shape_264",
    "shape_overflow",
    "size_mismatch",
    "trailing_zip_(polyglot)",
    "zero_dims_240",
)


def file_of(entries, data=b"", length=None):
    raw = json.dumps(entries).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def refusal(content: bytes) -> str:
    with pytest.raises(LoraRefused) as caught:
        read_header(io.BytesIO(content), len(content))
    return str(caught.value)


def a_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    return buffer.getvalue()


def test_a_header_says_what_safetensors_wrote(tmp_path):
    """The reader is ours, so that the library meets nothing that was not checked."""
    lora = original()
    lora.metadata = {"author": "ada"}
    found = open_header(written(lora, tmp_path))

    assert shapes_of(lora) == found.shapes
    assert {"author": "ada"} == found.metadata
    assert {"F32"} == {info.dtype for info in found.tensors.values()}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_at_once_and_in_a_sentence(name):
    """Twenty files made by hand to break readers; a million empty tensors take the library 10 s."""
    path = shared(f"prototypes/reliability/corpora/safetensors/{name}.safetensors")
    began = time.process_time()

    with pytest.raises(LoraRefused, match=r"\w+ \w+ \w+"):
        open_header(path)

    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "the file is empty"),
        (a_zip(), "it is a zip archive, as PyTorch's .pt, .bin and .ckpt files are"),
        (pickle.dumps({"a": list(range(50))}, protocol=2), "it is a pickle"),
        (pickle.dumps({"a": list(range(50))}), "it is a pickle"),
        (b"GGUF\x03\x00\x00\x00" + bytes(100), "it is a GGUF file"),
        (b"<!DOCTYPE html><html>please log in</html>", "it is a web page"),
        (b'{"error": "unauthorized, please log in"}', "it is JSON"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d", "a Git LFS pointer"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "it is a PNG picture"),
        (b"\x00\x00\x00\x20ftypisom" + bytes(40), "it is an MP4"),
        (bytes(100), "it is not a safetensors file"),
    ],
)
def test_another_kind_of_file_is_called_by_its_name(content, what):
    """`.safetensors` at the end of a name proves nothing, and the user has to know what to do."""
    assert what in refusal(content)


def test_a_million_empty_tensors_are_counted_and_not_made():
    """The library takes ten seconds and 0.4 GB for them."""
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    many = file_of({f"t{number}": entry for number in range(MAX_TENSORS + 1)})

    assert "tensors; 20000 are allowed" in refusal(many)


def test_a_header_past_its_limit_is_not_read(monkeypatch):
    """JSON of gigabytes is a way to fill memory."""
    monkeypatch.setattr(header, "MAX_HEADER_BYTES", 100)
    entries = {f"t{n}": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in range(9)}

    assert "are allowed" in refusal(file_of(entries))


def test_a_file_past_its_limit_is_not_read(tmp_path):
    """Somebody will give a checkpoint of 28 GB."""
    path = written(original(), tmp_path)

    with pytest.raises(LoraRefused, match=r"the file has 0\.0 GB; a LoRA may have 0\.0"):
        open_header(path, max_bytes=1000)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    """It may have been removed while the job waited."""
    with pytest.raises(LoraRefused, match="cannot be read: No such file"):
        open_header(tmp_path / "gone.safetensors")


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ([], "is not described by dtype"),
        ({"dtype": "F32", "shape": [1]}, "is not described by dtype"),
        ({"dtype": "I8", "shape": [4], "data_offsets": [0, 4]}, "has dtype I8; LoRAs have F32"),
        ({"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}, "impossible shape"),
        ({"dtype": "F32", "shape": [1] * 9, "data_offsets": [0, 4]}, "impossible shape"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}, "impossible offsets"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}, "does not begin where"),
    ],
)
def test_a_tensor_that_cannot_be_is_named(entry, sentence):
    """Whoever wrote the exporter wants to know which."""
    told = refusal(file_of({"a": entry}, bytes(4)))

    assert sentence in told
    assert "tensor a " in told
