import json
import signal
import subprocess
import sys
from dataclasses import asdict

import pytest

from tests.wan_local.media.files import ffmpeg, picture, video
from wan_local.media.info import MediaLimits

# Restricts itself as the process that decodes does, and then tries what a hostile file might.
PRISONER = """
import socket, sys
from wan_local.media.child import restrict
restrict({limits})
{attempt}
"""
LIMITS = asdict(MediaLimits()) | {"frames": 100}


def imprisoned(attempt: str) -> str:
    """Run *attempt* under the limits; return the error it ended with."""
    code = PRISONER.format(limits=LIMITS, attempt=attempt)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    return ended.stderr.strip().splitlines()[-1] if ended.returncode else ""


def asked(path, kind=None, **limits) -> bytes:
    """Return what the process says about *path*."""
    request = {"path": str(path), "kind": kind, "frames": True, "fps": None, "num_frames": 1}
    request["limits"] = LIMITS | limits
    command = [sys.executable, "-m", "wan_local.media.child", json.dumps(request)]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60).stdout


@pytest.mark.parametrize(
    ("attempt", "error"),
    [
        ("open('/etc/passwd')", "Too many open files"),
        ("socket.socket()", "Too many open files"),
        ("b'x' * 2**31", "MemoryError"),
        ("import subprocess; subprocess.run(['id'])", "Too many open files"),
    ],
)
def test_nothing_can_be_opened_any_more(attempt, error):
    """A playlist, a document or a broken decoder reaches no file, no host and no other program."""
    assert error in imprisoned(attempt)


def test_computing_time_is_capped():
    """By a signal of its own, so that it can be told from a crash."""
    code = PRISONER.format(limits=LIMITS | {"cpu_seconds": 1}, attempt="while True: pass")

    ended = subprocess.run([sys.executable, "-c", code], timeout=60)

    assert -signal.SIGXCPU == ended.returncode


def test_the_limits_themselves_do_no_harm():
    """The test above would pass as well if restricting failed."""
    assert "" == imprisoned("print('alive')")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.jpg", {}),
        ("a.webp", {}),
        ("a.gif", {}),
        ("a.avif", {}),
        ("b.jpg", {"exif": b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x00"}),
    ],
)
def test_every_picture_format_is_read_behind_the_limits(tmp_path, name, options):
    """A decoder that loads a module, or starts a thread, when it meets a file could not."""
    said = asked(picture(tmp_path / name, **options))

    info, rest = said[1:].split(b"\n", 1)
    assert {"width": 48, "height": 32} == json.loads(info)["size"]
    assert (b"I", b"F", b"E") == (said[:1], rest[:1], rest[-1:])
    assert 48 * 32 * 3 + 2 == len(rest)


@pytest.mark.parametrize(
    ("name", "codec", "format"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mp4", "libx265", "yuv420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.mp4", "libsvtav1", "yuv420p"),
        ("a.mov", "prores_ks", "yuv444p10le"),
    ],
)
def test_every_video_codec_is_read_behind_the_limits(tmp_path, name, codec, format):
    """As above; AV1's decoder likes threads."""
    said = asked(video(tmp_path / name, 3, codec=codec, format=format))

    assert b"E" == said[-1:]
    assert 3 == json.loads(said[1:].split(b"\n", 1)[0])["num_frames"]


def test_sound_and_subtitles_beside_the_video_do_no_harm(tmp_path):
    """Films have them; nothing but the video is decoded."""
    words = tmp_path / "a.srt"
    words.write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    path = tmp_path / "a.mkv"
    moving = ("-f", "lavfi", "-i", "testsrc=64x48:d=0.5:r=10", "-f", "lavfi", "-i", "sine=d=0.5")
    ffmpeg(*moving, "-i", words, "-pix_fmt", "yuv420p", path)

    assert b"E" == asked(path)[-1:]


def test_a_gif_is_what_is_wanted(tmp_path):
    """It may stand in an image field as well as in a video field."""
    path = video(tmp_path / "a.gif", 3, codec="gif", format="rgb8")

    kinds = [
        json.loads(asked(path, kind)[1:].split(b"\n")[0])["kind"] for kind in ("image", "video")
    ]

    assert ["image", "video"] == kinds


def test_too_little_memory_is_a_refusal_and_not_a_crash(tmp_path):
    """The client should read a sentence."""
    path = picture(tmp_path / "a.png", (6_000, 6_000))

    said = asked(path, memory_bytes=400 * 2**20)

    assert b"R" == said[:1]
    assert "too much memory" in json.loads(said[1:])["message"]
