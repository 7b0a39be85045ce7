"""Files that are named on the command line."""

from __future__ import annotations

import base64

import pytest
import typer
from PIL import Image

from server.cli.local_files import find_sources
from server.media.sources import Need
from server.settings import Settings
from tests.server.media.lora_files import a_lora
from wan_local.geometry import Size


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path / "data", weights_dir=tmp_path / "weights")


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "in" / "red.png"
    path.parent.mkdir()
    Image.new("RGB", (64, 48), "red").save(path)
    return path


def find(settings, tmp_path, url, kind="image", field="image_url"):
    return find_sources(settings, tmp_path / "scratch", [Need(url, kind, field)])[url]


def as_data(path):
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


@pytest.mark.parametrize("spelling", ["absolute", "relative", "file", "data"])
def test_a_picture_is_found_however_it_is_spelled(
    settings, tmp_path, picture, spelling, monkeypatch
):
    """A path as the shell completes it, and whatever the server takes too."""
    monkeypatch.chdir(tmp_path)
    url = {
        "absolute": str(picture),
        "relative": "in/red.png",
        "file": picture.as_uri(),
        "data": as_data(picture),
    }[spelling]
    source = find(settings, tmp_path, url)

    assert Size(64, 48) == source.picture.size
    assert source.path.startswith(str(tmp_path / "scratch"))


def test_a_lora_is_taken_from_where_it_is(settings, tmp_path):
    """It may be large, and is not copied."""
    path = a_lora(tmp_path / "ink.safetensors")
    source = find(settings, tmp_path, str(path), "lora", "loras.0.path")

    assert (str(path), None) == (source.path, source.info)


@pytest.mark.parametrize(
    ("url", "kind", "said"),
    [
        ("nowhere.png", "image", "nowhere.png is not a file, and no URL either"),
        ("TEXT", "image", "image_url: "),
        ("PICTURE", "video", "image_url: "),
        ("TEXT", "lora", "image_url: "),
        ("nothing-of-this-name", "lora", "no LoRA that this server knows by name"),
        ("ftp://example.org/a.png", "image", "not a file, and no URL either"),
        ("data:image/png;base64,!!", "image", "base64 is damaged"),
    ],
)
def test_what_cannot_be_used_is_exit_code_2_with_its_field(
    settings, tmp_path, picture, capsys, url, kind, said
):
    """Nothing was started yet."""
    text = tmp_path / "text.txt"
    text.write_text("not a picture")
    address = {"TEXT": str(text), "PICTURE": str(picture)}.get(url, url)
    with pytest.raises(typer.Exit) as caught:
        find(settings, tmp_path, address, kind)

    assert 2 == caught.value.exit_code
    assert said in capsys.readouterr().err
