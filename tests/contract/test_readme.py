"""README.md against the real server: what a newcomer copies first has to run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

from server.cli import app
from server.cli.client_lines import javascript_line
from server.cli.exits import MEANINGS
from tests.contract.sync_client import ENDPOINT, TINY
from tests.running_server import ROOT
from tests.watching import assert_moving_pictures, watch
from wan_local.catalog import MODELS

HERE = Path(__file__).parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    """The fenced blocks of README.md in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands():
    """Every command line in the README, without prompts and continuations."""
    typed = "\n".join(blocks("console")).replace("$ ", "") + "\n".join(blocks("sh"))
    return typed.replace("\\\n", "").splitlines()


@pytest.fixture
def desk(tmp_path):
    """A folder with the picture that samples begin with."""
    Image.linear_gradient("L").resize((320, 180)).convert("RGB").save(tmp_path / "picture.png")
    return tmp_path


@pytest.mark.parametrize("sample", blocks("python"))
def test_the_python_samples_run(server, download, desk, sample):
    """With nothing but the variables that the README names."""
    names = [line.split("=")[0].removeprefix("export ") for line in exports()]
    assert set(names) <= set(server.fal_environment)
    ran = subprocess.run(
        [sys.executable, "-c", sample],
        cwd=desk,
        env=server.fal_environment,
        capture_output=True,
        text=True,
    )

    assert 0 == ran.returncode, ran.stderr
    assert_moving_pictures(watch(download(ran.stdout.splitlines()[-1])), 17)


def exports():
    return [line for line in commands() if line.startswith("export ")]


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not here")
@pytest.mark.parametrize("sample", blocks("js"))
def test_the_javascript_samples_run(server, download, desk, sample):
    """As it stands, but for the port, and for where Node looks for a picture."""
    assert javascript_line("127.0.0.1", 8900) in sample
    here = sample.replace("http://127.0.0.1:8900", server.url)
    here = here.replace("picture.png", str(desk / "picture.png"))
    ran = subprocess.run(
        ["node", "--input-type=module", "-e", here], cwd=HERE, capture_output=True, text=True
    )

    assert 0 == ran.returncode, ran.stderr
    assert_moving_pictures(watch(download(ran.stdout.splitlines()[-1])), 17)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
@pytest.mark.parametrize("command", [line for line in commands() if "| curl " in f"| {line}"])
def test_the_curl_commands_get_a_job(server, desk, command):
    """What is pasted into a terminal to see whether anything answers."""
    here = command.replace("http://127.0.0.1:8900", server.url)
    ran = subprocess.run(["sh", "-c", f"{here} -sS"], cwd=desk, capture_output=True, check=True)

    assert "IN_QUEUE" == json.loads(ran.stdout)["status"]


@pytest.mark.parametrize("block", blocks("sh")[-1].splitlines())
def test_the_commands_run(block, weights, tmp_path):
    """Each of them, with its data in a folder of its own."""
    arguments = [sys.executable, "-m", "server.cli", *shlex.split(block)[1:]]
    output = None
    if "-o" in arguments:
        output = tmp_path / arguments[arguments.index("-o") + 1]
        arguments[arguments.index("-o") + 1] = str(output)
    places = {"WAN_LOCAL_DATA_DIR": str(tmp_path), "WAN_LOCAL_WEIGHTS_DIR": str(weights)}
    ran = subprocess.run(
        arguments,
        cwd=ROOT,
        env=os.environ | places | {"WAN_LOCAL_DEVICE": "cpu"},
        capture_output=True,
        text=True,
    )

    assert 0 == ran.returncode, ran.stderr
    assert output is None or (17 if output.suffix == ".mp4" else 1) == len(watch(output))


def test_every_command_of_the_cli_is_named_and_no_other():
    """A command that was renamed goes on living in a README for years."""
    typed = {shlex.split(line)[1] for line in commands() if line.startswith("wan-local ")}
    there = set(get_command(app).commands)
    in_the_table = set(re.findall(r"^\| `([a-z]+)", README, re.MULTILINE))

    assert typed <= there
    assert there == in_the_table & there
    for command in there:
        assert 0 == CliRunner().invoke(app, [command, "--help"]).exit_code


def test_the_download_command_is_the_catalogs():
    """126 GB into the wrong folder is an afternoon."""
    model = MODELS["wan2.2-t2v-a14b"]
    [command] = [line for line in commands() if line.startswith(f"hf download {model.repo} ")]

    assert command.endswith(f"/weights/{model.id}")
    assert f"{model.download_gb:.0f} GB" in README


def test_every_exit_code_is_named():
    """Scripts are written from the README."""
    named = re.search(r"^Exit codes: (.*)$", README, re.MULTILINE)[1]

    assert [code.value for code in MEANINGS] == [
        int(entry.split()[0]) for entry in named.split(" · ")
    ]


def test_the_json_has_the_fields_of_a_real_answer(server):
    """It is what people write their code against."""
    [printed] = blocks("json")
    shown = json.loads(printed)
    body = json.dumps(TINY | {"prompt": shown["prompt"]})
    answer = subprocess.run(
        ["curl", "-sS", f"{server.url}/run/{ENDPOINT}", "-d", body],
        capture_output=True,
        check=True,
    ).stdout
    real = json.loads(answer)

    assert list(shown) == list(real)
    assert list(shown["video"]) == list(real["video"])


def test_make_targets_that_are_named_exist():
    """The first line that anybody types."""
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"\bmake ([a-z]+)\b", "\n".join(commands())))

    assert {"demo", "install"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
