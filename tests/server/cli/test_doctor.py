import json
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from typer.testing import CliRunner

from server.certificates import make_certificates
from server.cli import app
from server.cli.doctor import (
    CHECKS,
    ask_child,
    check_checkpoints,
    check_expansion,
    check_keys,
    check_nvenc,
    check_safety,
    check_tls,
    judge_expiry,
    judge_gpus,
)
from server.keys import KeyRing
from server.settings import Settings
from tests.server.language_server import running
from wan_local.video.nvenc import refusal


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path, weights_dir=tmp_path / "weights", device="cpu")


def test_a_machine_that_can_make_videos_is_told_so(tmp_path, weights):
    """Exit code 0 is what an installer's script goes by."""
    flags = ["--data-dir", str(tmp_path), "--weights-dir", str(weights), "--device", "cpu"]
    result = CliRunner().invoke(app, ["doctor", "--json", *flags])
    findings = json.loads(result.output)

    assert 0 == result.exit_code
    assert len(CHECKS) == len(findings)
    assert "fail" not in {finding["verdict"] for finding in findings}


def test_a_missing_checkpoint_fails_with_the_command_that_fetches_it(tmp_path):
    """The commonest trouble of all, and the one with the longest command."""
    flags = ["--data-dir", str(tmp_path), "--weights-dir", str(tmp_path), "--device", "cpu"]
    result = CliRunner().invoke(app, ["doctor", *flags])

    assert 1 == result.exit_code
    assert "hf download" in result.output


def test_a_gpu_that_is_asked_for_and_not_there_fails():
    """With `auto` the CPU steps in, which is a warning; with `cuda` nothing would run."""
    assert "fail" == judge_gpus([], required=True, experts_gb=57.2).verdict
    assert "warn" == judge_gpus([], required=False, experts_gb=57.2).verdict


def test_a_small_gpu_is_a_warning():
    """It works, and somebody should know before they wonder why it is slow."""
    small = {"device": "cuda:0", "name": "NVIDIA Small", "memory_gb": 24.0}
    large = {"device": "cuda:1", "name": "NVIDIA Large", "memory_gb": 80.0}
    judge = partial(judge_gpus, required=True, experts_gb=57.2)

    assert "ok" == judge([large]).verdict
    assert "warn" == judge([large, small]).verdict
    assert "cuda:0 NVIDIA Small 24 GB" == judge([small]).text


def test_a_gpu_is_large_enough_for_what_it_has_to_hold():
    """Both experts of 8 bits fit where both of bfloat16 do not."""
    middling = {"device": "cuda:0", "name": "NVIDIA Middling", "memory_gb": 48.0}

    assert "warn" == judge_gpus([middling], required=True, experts_gb=57.2).verdict
    assert "ok" == judge_gpus([middling], required=True, experts_gb=29.1).verdict


def test_a_child_that_fails_is_quoted():
    """`import torch` fails in many ways; the last line of the traceback is the useful one."""
    assert "ZeroDivisionError: division by zero" == ask_child("-c", "1 / 0")
    assert [1, 2] == ask_child("-c", "print([1, 2])")


def test_a_public_server_without_keys_fails(settings):
    """`serve` would refuse to start; better to hear it here."""
    public = settings.model_copy(update={"host": "0.0.0.0"})

    assert "fail" == check_keys(public).verdict
    KeyRing(settings.data_dir / "keys.json").create("Ada")
    assert "ok" == check_keys(public).verdict


def test_a_missing_classifier_is_a_warning_unless_it_is_forced(settings, tmp_path):
    """Nothing needs it before somebody asks for a check; a rule needs it at once."""
    found = check_safety(settings)
    forced = check_safety(settings.model_copy(update={"safety": "force"}))

    assert ("warn", "fail") == (found.verdict, forced.verdict)
    assert found.remedy.startswith("hf download Falconsai/nsfw_image_detection")
    off = settings.model_copy(update={"safety": "off"})
    assert "switched off (setting safety)" == check_safety(off).text


def test_who_checks_is_told(weights, tmp_path):
    """Pictures by one, prompts by another, or by nobody."""
    plain = Settings(weights_dir=weights)
    folder = weights / "nsfw_image_detection"
    assert f"honour: pictures by {folder}, prompts by nobody" == check_safety(plain).text
    listed = plain.model_copy(update={"safety_words": tmp_path / "words.txt"})
    assert "there is no list of refused words" in check_safety(listed).text
    (tmp_path / "words.txt").write_text("gun")

    assert check_safety(listed).text.endswith(f"prompts by {tmp_path / 'words.txt'}")


def test_the_server_that_expands_prompts_is_tried(settings):
    """With a real question: an address that answers may still not know the model."""
    assert "ok" == check_expansion(settings).verdict
    with running() as server:
        asking = Settings(expansion="openai", expansion_url=server.url, expansion_model="qwen3")
        assert f"by qwen3 at {server.url}, which answers" == check_expansion(asking).text
        server.status = 404
        found = check_expansion(asking)

    assert "warn" == found.verdict
    assert "answered 404" in found.text


def test_a_missing_language_model_comes_with_the_command(settings):
    """The prompts are used as written until then."""
    found = check_expansion(settings.model_copy(update={"expansion": "transformers"}))

    assert "warn" == found.verdict
    assert found.remedy.startswith("hf download Qwen/Qwen3-4B-Instruct-2507")


def test_a_certificate_about_to_expire_is_a_warning(settings):
    """Clients fail on the day after, all of them at once."""
    now = datetime.now(UTC)

    assert "no certificate" == check_tls(settings).text
    make_certificates(settings.data_dir / "tls")
    assert "ok" == check_tls(settings).verdict
    assert "ok" == judge_expiry(now + timedelta(days=31), now).verdict
    assert "warn" == judge_expiry(now + timedelta(days=29), now).verdict


def test_a_broken_checkpoint_is_not_taken_for_a_good_one(settings):
    """A download that stopped half-way leaves a folder that looks right from outside."""
    folder = settings.weights_dir / "wan2.2-t2v-a14b"
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")

    assert "fail" == check_checkpoints(settings).verdict


def test_the_gpus_encoder_is_tried_if_it_is_to_be_used():
    """Where there is none, ffmpeg says why; nobody waits for a trial that nobody wants."""
    refusal.cache_clear()
    unused, tried = check_nvenc(Settings()), check_nvenc(Settings(nvenc=True))

    assert ("ok", 0) == (unused.verdict, unused.text.count("trial"))
    assert tried.verdict in {"ok", "warn"}
    assert ("two frames" in tried.text) == (tried.verdict == "ok")
