"""The GPU's encoder is used where it has been seen to work, and nowhere else."""

from __future__ import annotations

import pytest

from wan_local.geometry import Size
from wan_local.plan import EncodingSpec
from wan_local.video import nvenc

HD = Size(1280, 720)


@pytest.fixture
def ffmpeg(tmp_path, monkeypatch):
    """Return a function that makes a script the ffmpeg of this machine."""

    def install(script):
        program = tmp_path / "ffmpeg"
        program.write_text(f"#!/bin/sh\nfor last; do :; done\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))

    nvenc.refusal.cache_clear()
    yield install
    nvenc.refusal.cache_clear()


def test_an_encoder_that_passes_its_trial_is_used(ffmpeg):
    """Two frames in, a file out."""
    ffmpeg('cat > "$last"')
    asked = EncodingSpec(encoder="nvenc")

    assert (asked, None) == nvenc.settled(asked, HD)


def test_an_encoder_that_fails_it_is_not_used_and_the_log_says_why(ffmpeg):
    """In ffmpeg's own words: the operator can do something about a driver."""
    ffmpeg("cat > /dev/null; echo 'Cannot load libcuda.so.1' >&2; echo more >&2; exit 1")
    encoding, said = nvenc.settled(EncodingSpec(format="hevc10", encoder="nvenc"), HD)

    assert EncodingSpec(format="hevc10", encoder="software") == encoding
    assert "NVENC was asked for and the CPU encodes: Cannot load libcuda.so.1" == said


@pytest.mark.parametrize("script", ["cat > /dev/null", "exit 3"])
def test_no_file_is_no_success(ffmpeg, script):
    """A wrapper that ends with 0 has not encoded anything."""
    ffmpeg(script)

    assert nvenc.settled(EncodingSpec(encoder="nvenc"), HD)[1] is not None


def test_the_trial_is_held_once(ffmpeg, tmp_path):
    """It takes seconds on a cold driver, and the answer stays."""
    ffmpeg(f'echo once >> {tmp_path}/trials; cat > "$last"')
    for _ in range(3):
        nvenc.settled(EncodingSpec(encoder="nvenc"), HD)

    assert "once\n" == (tmp_path / "trials").read_text()


def test_what_is_too_small_or_another_format_is_not_tried(ffmpeg, tmp_path):
    """NVENC has a smallest picture, and knows H.264 and HEVC only."""
    ffmpeg(f"touch {tmp_path}/tried")
    small = nvenc.settled(EncodingSpec(encoder="nvenc"), Size(64, 48))
    prores = nvenc.settled(EncodingSpec(format="prores422", encoder="nvenc"), HD)

    assert "64×48 is too small" in small[1]
    assert (EncodingSpec(format="prores422"), None) == prores
    assert not (tmp_path / "tried").exists()


def test_a_machine_without_nvenc_says_so_with_its_own_ffmpeg():
    """On the machines that test this, the real trial fails with a sentence of ffmpeg's."""
    nvenc.refusal.cache_clear()
    encoding, said = nvenc.settled(EncodingSpec(encoder="nvenc"), HD)

    assert (encoding.encoder == "nvenc") == (said is None)
    assert said is None or len(said) > len("NVENC was asked for and the CPU encodes: ")
