"""Requests as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from server.cli.typed import parse, read_body, read_fields, with_format
from server.endpoints import ENDPOINTS

VIDEO = ENDPOINTS["fal-ai/wan/v2.2-a14b/text-to-video"]
IMAGE = ENDPOINTS["fal-ai/wan/v2.2-5b/text-to-image"]


def test_a_field_is_json_if_it_can_be():
    """Numbers and objects are typed as they are, and texts without quotes."""
    fields = ["num_frames=49", "prompt=a cat", 'image_size={"width": 64}', "seed=null", "a=b=c"]

    assert {
        "num_frames": 49,
        "prompt": "a cat",
        "image_size": {"width": 64},
        "seed": None,
        "a": "b=c",
    } == read_fields(fields)


def test_a_body_is_a_file_of_json(tmp_path):
    """What one has sent to the server can be run without it."""
    path = tmp_path / "body.json"
    path.write_text(json.dumps({"prompt": "a"}))

    assert {"prompt": "a"} == read_body(path)
    assert {} == read_body(None)


@pytest.mark.parametrize("text", ["[]", "{", "7"])
def test_what_is_no_body_ends_the_command(tmp_path, text, capsys):
    """With its name, since there may be several."""
    path = tmp_path / "body.json"
    path.write_text(text)
    with pytest.raises(typer.Exit):
        read_body(path)

    assert str(path) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "format"), [("a.png", "png"), ("a.JPG", "jpeg"), ("a.jpeg", "jpeg")]
)
def test_the_name_of_the_output_decides_the_format(name, format):
    """Who writes `-o fox.png` means PNG."""
    assert {"image_format": format} == with_format(IMAGE, {}, Path(name))


@pytest.mark.parametrize(
    ("endpoint", "body", "output"),
    [
        (IMAGE, {"image_format": "jpeg"}, Path("a.png")),
        (IMAGE, {}, Path("a.webp")),
        (IMAGE, {}, Path("a")),
        (IMAGE, {}, None),
        (VIDEO, {}, Path("a.png")),
    ],
)
def test_a_format_is_not_decided_twice_nor_where_there_is_none(endpoint, body, output):
    """What the request says stands, and a contradiction is told later."""
    assert body == with_format(endpoint, body, output)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"prompt": "a", "num_frame": 17}, "num_frame;"),
        ({}, "prompt: Field required"),
        ({"prompt": "a", "num_frames": 5}, "num_frames: "),
    ],
)
def test_a_slip_of_the_fingers_is_named(body, named, capsys):
    """The server ignores a field it does not know; at a keyboard it is a typo."""
    with pytest.raises(typer.Exit) as caught:
        parse(VIDEO, body)

    assert 2 == caught.value.exit_code
    assert named in capsys.readouterr().err
