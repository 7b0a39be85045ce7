"""`wan-local inspect`: what a file says of itself, and whether it can be made again."""

from __future__ import annotations

import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from server.cli import app
from server.cli.exits import Exit
from server.cli.inspect import _compare
from wan_local.video.png import encode_png

ENDPOINT = "fal-ai/wan/v2.2-a14b/text-to-video"
FIELDS = ["num_frames=17", "num_inference_steps=2", "resolution=480p", "aspect_ratio=1:1"]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def video(weights, tmp_path_factory):
    """A video made by the command line, with metadata as the settings have it by default."""
    path = tmp_path_factory.mktemp("made") / "a.mp4"
    fields = [part for field in FIELDS for part in ("-i", field)]
    options = ["-p", "ink in water", "--seed", 5, "--weights-dir", weights, "--device", "cpu"]
    made = run("generate", ENDPOINT, *options, *fields, "-o", path)
    assert 0 == made.exit_code, made.output
    return path


def test_a_video_says_how_it_was_made(video):
    """To whoever finds it in a folder a year later."""
    shown = run("inspect", video)

    assert 0 == shown.exit_code
    for line in (f"endpoint: {ENDPOINT}", "seed: 5", "request.prompt: ink in water"):
        assert line in shown.output.splitlines()
    assert "model.components.vae: " in shown.output


def test_programs_get_json(video):
    """One object."""
    record = json.loads(run("inspect", "--json", video).output)

    assert ("wan-local/1", 17) == (record["schema"], record["request"]["num_frames"])


def test_the_same_request_makes_the_same_bytes_again(video, weights):
    """That is what the record is for."""
    again = run("inspect", "--replay", video, "--weights-dir", weights, "--device", "cpu")

    assert 0 == again.exit_code, again.output
    assert "the same request makes the same bytes again" in again.output


def test_a_file_is_made_again_in_the_precision_it_was_made_in(weights, tmp_path, monkeypatch):
    """And not in the one that the settings have now, in which it would be another file."""
    path = tmp_path / "a.mp4"
    fields = [part for field in FIELDS for part in ("-i", field)]
    options = ["-p", "ink", "--seed", 5, "--weights-dir", weights, "--device", "cpu"]
    made = run("generate", ENDPOINT, *options, "--quantization", "int8", *fields, "-o", path)
    monkeypatch.setenv("WAN_LOCAL_QUANTIZATION", "float8")
    again = run("inspect", "--replay", path, "--weights-dir", weights, "--device", "cpu")

    assert 0 == made.exit_code, made.output
    assert "blocks' linear weights kept as int8" in made.output
    assert "precision.quantization: int8" in again.output.splitlines()
    assert 0 == again.exit_code, again.output
    assert "the same request makes the same bytes again" in again.output


def test_another_precision_is_told(tmp_path, capsys):
    """A GPU computes in bfloat16, a CPU in float32: no setting makes one of the other."""
    one = a_file(tmp_path / "a.png", precision={"dtype": "bfloat16", "quantization": "none"})
    two = a_file(tmp_path / "b.png", precision={"dtype": "float32", "quantization": "none"})
    with pytest.raises(typer.Exit):
        _compare(one, two)

    assert "precision.dtype was bfloat16 and is float32" in capsys.readouterr().err


def a_file(path, **record):
    """Write a black picture that says *record* of itself."""
    frame = np.zeros((2, 2, 3), dtype=np.uint8)
    text = {"comment": json.dumps({"schema": "wan-local/1"} | record)}
    path.write_bytes(encode_png(frame, level=1, text=text))
    return path


def test_another_file_is_told_from_the_same(tmp_path, capsys):
    """With the reason, where the record knows it: another driver, card or release."""
    one = a_file(tmp_path / "a.png", device="cpu", version="1")
    two = a_file(tmp_path / "b.png", device="cpu", version="2")
    _compare(one, a_file(tmp_path / "c.png", device="cpu", version="1"))
    with pytest.raises(typer.Exit) as ended:
        _compare(one, two)

    assert Exit.FAILED == ended.value.exit_code
    assert "version was 1 and is 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({}, "its metadata is minimal"),
        ({"request": {"image_url": "sha256:00"}}, "only the hash"),
        ({"request": {"image_url": "https://a.lan/x?[redacted]"}}, "signed URL"),
    ],
)
def test_what_cannot_be_made_again_is_a_sentence(tmp_path, record, said):
    """And no attempt."""
    path = a_file(tmp_path / "a.png", **record)
    again = run("inspect", "--replay", path)

    assert Exit.FAILED == again.exit_code
    assert said in again.output


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [(b"hello", Exit.FAILED, "does not say how"), (None, Exit.USAGE, "No such file")],
)
def test_what_says_nothing_is_a_sentence(tmp_path, content, code, said):
    """Somebody else's file, or none."""
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    shown = run("inspect", path)

    assert code == shown.exit_code
    assert said in shown.output
