import json
import os
import signal
import subprocess
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

from server.cli import app
from tests.contract.sync_client import ENDPOINT
from tests.running_server import ROOT
from tests.server.language_server import running
from tests.watching import assert_moving_pictures, watch

I2V = "fal-ai/wan/v2.2-a14b/image-to-video"
T2I = "fal-ai/wan/v2.2-5b/text-to-image"
TINY = ["-i", "resolution=480p", "-i", "num_frames=17", "-i", "num_inference_steps=2"]
TINY += ["-i", "interpolator_model=none", "--device", "cpu"]
LONG = ["-i", "resolution=720p", "-i", "num_frames=161", "-i", "num_inference_steps=40"]
LONG += ["-i", "interpolator_model=none", "--device", "cpu"]


def command(*arguments):
    return [sys.executable, "-m", "server.cli", "generate", ENDPOINT, *map(str, arguments)]


def refuse(*arguments):
    """Run it in this process: everything here is refused before a GPU process is started."""
    return CliRunner().invoke(app, ["generate", *map(str, arguments)])


def test_a_video_without_a_server(weights, tmp_path):
    """The shortest way from a prompt to a file, for a script."""
    output = tmp_path / "out.mp4"
    flags = ["--prompt", "a cat", "-o", output, "--weights-dir", weights, *TINY]
    ran = subprocess.run(command(*flags), cwd=ROOT, capture_output=True, text=True)

    assert 0 == ran.returncode, ran.stderr
    assert ran.stdout.startswith(str(output))
    assert "step 2 of 2" in ran.stderr
    assert_moving_pictures(watch(output), 17)
    assert [output] == list(tmp_path.iterdir())


def test_a_video_of_a_picture_that_is_here(weights, tmp_path):
    """By its path, as the shell completes it; the video has its shape."""
    Image.linear_gradient("L").resize((90, 160)).save(tmp_path / "fox.png")
    arguments = ["-p", "a cat", "-i", "image_url=fox.png", "--weights-dir", weights, *TINY]
    ran = subprocess.run(
        [sys.executable, "-m", "server.cli", "generate", I2V, *map(str, arguments)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )

    assert 0 == ran.returncode, ran.stderr
    assert (17, 112, 64, 3) == watch(tmp_path / "out.mp4").shape
    assert ["fox.png", "out.mp4"] == sorted(path.name for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([I2V, "-i", "image_url=nowhere.png"], "image_url: nowhere.png is not a file"),
        ([ENDPOINT, "-o", "cat.png"], "the output is a .mp4 file"),
        ([T2I, "-o", "cat.mp4"], "the output is a .jpg file"),
        ([T2I, "-o", "cat.png", "-i", "image_format=jpeg"], "the output is a .jpg file"),
    ],
)
def test_files_that_do_not_fit_are_exit_code_2(weights, arguments, named):
    """Before a GPU process is started."""
    result = refuse(*arguments, "-p", "a cat", "--weights-dir", weights, "--device", "cpu")

    assert 2 == result.exit_code
    assert named in result.stderr


def test_json_lines_end_with_the_endpoints_own_body(weights, tmp_path):
    """What a program learned from the hosted service it can read here as well."""
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"prompt": "a cat", "seed": 3}))
    flags = ["--input", body, "--json", "-o", tmp_path / "out.mp4", "--weights-dir", weights, *TINY]
    ran = subprocess.run(command(*flags), cwd=ROOT, capture_output=True, text=True)
    lines = [json.loads(line) for line in ran.stdout.splitlines()]

    assert "output" == lines[-1]["kind"]
    assert 3 == lines[-1]["output"]["seed"]
    assert 17 == lines[-1]["output"]["video"]["num_frames"]
    assert [1, 2] == [line["step"] for line in lines if line["kind"] == "step"]


def test_previews_are_files_with_the_number_of_their_step(weights, tmp_path):
    """To look at in any viewer, also of a machine without a screen."""
    flags = ["--prompt", "a cat", "-o", tmp_path / "out.mp4", "--weights-dir", weights, *TINY]
    pictures = tmp_path / "pictures"
    ran = subprocess.run(
        command(*flags, "--preview", pictures), cwd=ROOT, capture_output=True, text=True
    )
    found = sorted(pictures.iterdir())

    assert 0 == ran.returncode, ran.stderr
    assert ["step-001.jpg", "step-002.jpg"] == [path.name for path in found]
    for path in found:
        with Image.open(path) as image:
            assert (256, 146) == image.size


def test_a_refused_prompt_is_exit_code_5(weights, tmp_path):
    """Told apart from a failure: trying again changes nothing."""
    (tmp_path / "words.txt").write_text("gun\n")
    flags = ["--prompt", "a gun", "-i", "enable_safety_checker=true", "--weights-dir", weights]
    ran = subprocess.run(
        command(*flags, "-o", tmp_path / "out.mp4", *TINY),
        cwd=ROOT,
        env=os.environ | {"WAN_LOCAL_SAFETY_WORDS": str(tmp_path / "words.txt")},
        capture_output=True,
        text=True,
    )

    assert 5 == ran.returncode
    assert "'gun', which is on this server's list" in ran.stderr
    assert not (tmp_path / "out.mp4").exists()


def test_the_expanded_prompt_is_answered(weights, tmp_path):
    """And what was checked, and what could not be, is said on the way."""
    with running() as language:
        settings = {
            "WAN_LOCAL_EXPANSION": "openai",
            "WAN_LOCAL_EXPANSION_URL": language.url,
            "WAN_LOCAL_EXPANSION_MODEL": "qwen3",
        }
        fields = ["enable_prompt_expansion", "enable_output_safety_checker"]
        flags = [flag for field in fields for flag in ("-i", f"{field}=true")]
        flags += ["--prompt", "a cat", "--weights-dir", weights, "-o", tmp_path / "out.mp4"]
        ran = subprocess.run(
            command(*flags, "--json", *TINY),
            cwd=ROOT,
            env=os.environ | settings,
            capture_output=True,
            text=True,
        )
    lines = [json.loads(line) for line in ran.stdout.splitlines()]

    assert "a red cat runs" == lines[-1]["output"]["prompt"]
    assert "a cat" == language.asked[0]["messages"][1]["content"]
    assert [] == [line for line in lines if "safety" in line.get("message", "")]


def test_a_check_that_must_be_made_and_cannot_is_exit_code_3(weights, tmp_path, monkeypatch):
    """Like any weights that are not here."""
    monkeypatch.setenv("WAN_LOCAL_SAFETY", "force")
    monkeypatch.setenv("WAN_LOCAL_SAFETY_CLASSIFIER", str(tmp_path / "none"))
    result = refuse(ENDPOINT, "-p", "a cat", "-o", tmp_path / "o.mp4", "--weights-dir", weights)

    assert 3 == result.exit_code
    assert "hf download Falconsai/nsfw_image_detection" in result.stderr


def test_interrupting_it_leaves_nothing_behind(weights, tmp_path):
    """Half a video looks like a video until somebody plays it."""
    flags = ["--prompt", "a cat", "-o", tmp_path / "out.mp4", "--weights-dir", weights, *LONG]
    with subprocess.Popen(
        command(*flags, "--json"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stdout:
            if json.loads(line)["kind"] == "step":
                break
        process.send_signal(signal.SIGINT)
        error = process.stderr.read()

    assert 6 == process.returncode
    assert "nothing was written" in error
    assert [] == list(tmp_path.iterdir())


def test_a_missing_checkpoint_is_exit_code_3(tmp_path):
    """A script that provisions machines goes by the code; a person by the command."""
    result = refuse(ENDPOINT, "-p", "a cat", "-o", tmp_path / "o.mp4", "--weights-dir", tmp_path)

    assert 3 == result.exit_code
    assert "hf download" in result.stderr


def test_a_missing_lora_is_exit_code_3(weights, tmp_path):
    """Turbo endpoints are their LoRAs."""
    (tmp_path / "wan2.2-t2v-a14b").symlink_to(weights / "wan2.2-t2v-a14b")
    turbo = f"{ENDPOINT}/turbo"
    result = refuse(turbo, "-p", "a cat", "-o", tmp_path / "o.mp4", "--weights-dir", tmp_path)

    assert 3 == result.exit_code
    assert "hf download lightx2v/Wan2.2-Distill-Loras" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["fal-ai/wan/nothing", "-p", "a cat"], "fal-ai/wan/nothing"),
        ([ENDPOINT], "prompt"),
        ([ENDPOINT, "-p", "a cat", "-i", "num_frames=5"], "num_frames"),
        ([ENDPOINT, "-p", "a cat", "-i", "num_frame=17"], "num_frame;"),
        ([ENDPOINT, "-p", "a cat", "-i", "num_frames"], "name=value"),
        ([ENDPOINT, "--input", "/nowhere.json"], "/nowhere.json"),
    ],
)
def test_what_cannot_be_right_is_exit_code_2_and_named(arguments, named, tmp_path):
    """The server ignores a field it does not know; at a keyboard it is a typo."""
    result = refuse(*arguments)

    assert 2 == result.exit_code
    assert named in result.stderr


def test_a_body_on_stdin_is_read(tmp_path):
    """`jq ... | wan-local generate ... --input -`."""
    result = CliRunner().invoke(
        app, ["generate", ENDPOINT, "--input", "-"], input='{"prompt": "a cat", "num_frames": 5}'
    )

    assert 2 == result.exit_code
    assert "num_frames" in result.stderr


def test_a_folder_that_is_not_there_is_found_out_first(weights, tmp_path):
    """Not after ten minutes on the GPU."""
    output = tmp_path / "nowhere" / "out.mp4"
    result = refuse(ENDPOINT, "-p", "a cat", "-o", output, "--weights-dir", weights)

    assert 2 == result.exit_code
    assert str(output.parent) in result.stderr
