"""`wan-local lora`."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from server.cli import app
from tests.server.media.lora_files import a_lora


@pytest.fixture
def run(weights, tmp_path):
    """Run a command on a weights directory with the small checkpoint and no LoRAs of its own."""
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "wan2.2-t2v-a14b").symlink_to(weights / "wan2.2-t2v-a14b")

    def run(*arguments):
        given = ["lora", *map(str, arguments), "--weights-dir", str(tmp_path / "weights")]
        return CliRunner().invoke(app, given)

    return run


def test_a_lora_is_added_listed_and_removed(run, tmp_path):
    """The whole life of a name."""
    file = a_lora(tmp_path / "style.safetensors")
    added = run("add", "my-style", file, "--source", "https://example.com")
    listed = json.loads(run("list", "--json").output)
    plain = run("list").output
    removed = run("rm", "my-style")

    assert (0, 0) == (added.exit_code, removed.exit_code)
    assert added.output.startswith("added my-style  0.0 MB  sha256 ")
    assert [("my-style", "https://example.com")] == [(row["name"], row["source"]) for row in listed]
    assert "my-style" in plain
    assert "no LoRAs have names yet" in run("list").stderr


def test_the_pairs_of_the_turbo_endpoints_are_listed(run):
    """Or the command that fetches them."""
    listed = run("list").output

    assert "wan2.2-t2v-a14b-4step: The four-step LoRA pair" in listed
    assert "hf download lightx2v/Wan2.2-Distill-Loras" in listed


def test_half_of_a_pair_gets_its_half_s_name(run, tmp_path):
    """And a file whose name says so is not filed as the whole without a word."""
    file = a_lora(tmp_path / "style_low_noise.safetensors")

    assert "added style@low" in run("add", "style", file, "--half", "low").output
    assert "--half low would name it so" in run("add", "style", file).stderr


def test_a_check_says_what_would_change(run, tmp_path):
    """Without a GPU, and before a job is sent."""
    file = a_lora(tmp_path / "style_high_noise.safetensors")
    run("add", "my-style", file)

    told = run("check", file).output
    assert "2 of 2 keys change 1 weights; rank 4; sha256" in told
    assert "its name says it is for the high-noise expert" in told
    assert "2 of 2 keys" in run("check", "my-style").output
    report = json.loads(run("check", file, "--json").output)
    assert (2, 2, "high") == (report["applied"], report["total"], report["guess"])


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("check", "gone.safetensors"), 2, "cannot be read: No such file"),
        (("check", "x", "--model", "wan9"), 2, "unknown model"),
        (("check", "x", "--model", "wan2.2-i2v-a14b"), 3, "hf download"),
        (("add", "a/b", "x"), 2, "cannot be a name"),
        (("add", "a", "gone.safetensors"), 2, "No such file"),
        (("rm", "nobody"), 2, "there is no LoRA 'nobody'"),
    ],
)
def test_what_cannot_be_done_is_said(run, arguments, code, sentence):
    """With the exit code that a script goes by."""
    result = run(*arguments)

    assert (code, True) == (result.exit_code, sentence in result.stderr), result.stderr


def test_a_file_for_another_model_is_refused(run, tmp_path):
    """The 5B's LoRAs have the same names and another width."""
    shapes = {
        "diffusion_model.blocks.0.self_attn.q.lora_A.weight": [4, 3072],
        "diffusion_model.blocks.0.self_attn.q.lora_B.weight": [3072, 4],
    }
    result = run("check", a_lora(tmp_path / "a.safetensors", shapes))

    assert 2 == result.exit_code
    assert "it is for Wan 2.2 TI2V-5B (inner dimension 3072)" in result.stderr
