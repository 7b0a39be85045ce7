import io

import numpy as np
import pytest
from PIL import Image

from tests.wan_local.media.files import brightness, ffmpeg, in_memory, video
from wan_local.media.refusal import Refusal
from wan_local.media.videos import Video, video_container

LIMITS = {"video_pixels": 40_000_000, "duration": 600.0, "fps": 240.0, "frames": 100_000}


def opened(path, **limits) -> Video:
    data = path.read_bytes()
    return Video(io.BytesIO(data), video_container(data[:64]), LIMITS | limits)


def shown(path, fps=None, num_frames=None) -> list[int]:
    with opened(path) as clip:
        return brightness(clip.pictures(fps, num_frames))


@pytest.mark.parametrize(
    ("name", "codec", "format"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mov", "prores_ks", "yuv422p10le"),
        ("a.mkv", "libx265", "yuv420p10le"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.webm", "libvpx", "yuv420p"),
        ("a.gif", "gif", "rgb8"),
        ("a.mov", "mjpeg", "yuvj420p"),
    ],
)
def test_every_usual_format_is_read(tmp_path, name, codec, format):
    """What phones, cameras, browsers and editors write."""
    path = video(tmp_path / name, 6, fps=10, codec=codec, format=format)

    with opened(path) as clip:
        assert (6, 10.0) == (clip.timeline.num_frames, pytest.approx(clip.timeline.fps, rel=0.01))
        assert (64, 48) == clip.size
        assert [0, 1, 2, 3, 4, 5] == brightness(clip.pictures(None, None))


@pytest.mark.parametrize(
    "head",
    [
        b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/\n",
        b"ffconcat version 1.0\nfile 'http://127.0.0.1/'\n",
        b"<?xml version='1.0'?><svg/>",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\n",
        b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00",
        b"RIFF\x00\x00\x00\x00AVI LIST",
        b"",
    ],
)
def test_no_other_demuxer_is_ever_asked(head):
    """FFmpeg knows 350 of them, and several fetch what a file tells them to."""
    assert video_container(head) is None


def test_frames_of_a_constant_rate_are_kept_as_they_are(tmp_path):
    """At its own rate a video must come out frame for frame, whatever the container rounds to."""
    for name in ("a.mp4", "a.mkv"):
        path = video(tmp_path / name, 20, fps=24)

        assert list(range(20)) == shown(path)
        assert list(range(20)) == shown(path, fps=24)


@pytest.mark.parametrize(
    ("fps", "frames"),
    [
        (8, [0, 2, 4, 6, 8, 10]),
        (32, [n // 2 for n in range(24)]),
        (4, [0, 4, 8]),
        (12, [0, 1, 3, 4, 5, 7, 8, 9, 11]),
    ],
)
def test_another_rate_repeats_and_drops(tmp_path, fps, frames):
    """Video to video runs at the rate that the client asks for, not at the camera's."""
    assert frames == shown(video(tmp_path / "a.mp4", 12, fps=16), fps=fps)


def test_no_more_frames_than_asked_for(tmp_path):
    """A plan of 5 frames needs no more of a long video decoded."""
    assert [0, 1, 2, 3, 4] == shown(video(tmp_path / "a.mp4", 12), num_frames=5)


def test_a_variable_rate_is_made_constant(tmp_path):
    """A phone drops frames in the dark: each is on screen until the next one comes."""
    path = video(tmp_path / "a.mp4", fps=10, stamps=[0, 1, 2, 6, 7, 10])

    with opened(path) as clip:
        assert 12 == pytest.approx(clip.timeline.duration * 10, abs=0.01)
        assert [0, 1, 2, 2, 2, 2, 3, 4, 4, 4, 5, 5] == brightness(clip.pictures(10, None))


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_a_rotated_video_stands_upright(tmp_path, angle):
    """Phones write lying frames and an angle. Compared with ffmpeg, which turns them as well."""
    flat = tmp_path / "flat.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc=64x48:d=0.2:r=10", "-pix_fmt", "yuv444p", flat)
    path, still = tmp_path / "a.mp4", tmp_path / "a.png"
    ffmpeg("-display_rotation", str(angle), "-i", flat, "-c", "copy", path)
    ffmpeg("-i", path, "-frames:v", "1", still)

    with opened(path) as clip:
        picture = next(clip.pictures(None, None))

    expected = Image.open(still)
    assert expected.size == picture.size
    assert np.abs(np.asarray(expected, np.int16) - np.asarray(picture, np.int16)).mean() < 3


@pytest.mark.parametrize("matrix", ["bt709", "smpte170m"])
def test_colours_are_the_ones_that_were_written(tmp_path, matrix):
    """With the wrong matrix, colour bars come out up to 25 levels off."""
    bars, path = tmp_path / "bars.png", tmp_path / "a.mp4"
    ffmpeg("-f", "lavfi", "-i", "smptehdbars=128x96", "-frames:v", "1", bars)
    scale = f"scale=out_color_matrix={matrix}:out_range=tv:flags=accurate_rnd+full_chroma_int"
    tags = f"setparams=colorspace={matrix}:range=tv"
    yuv = ("-pix_fmt", "yuv444p", "-c:v", "libx264", "-qp", "1")
    ffmpeg("-i", bars, "-vf", f"{scale},{tags}", *yuv, path)

    with opened(path) as clip:
        picture = next(clip.pictures(None, None))

    expected = np.asarray(Image.open(bars).convert("RGB"), np.int16)
    assert np.abs(expected - np.asarray(picture, np.int16)).mean() <= 1


def test_what_shows_through_a_video_is_white(tmp_path):
    """As in pictures."""
    clear = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    file = in_memory(clear, "GIF", save_all=True, append_images=[clear], duration=100, disposal=2)

    with Video(file, "gif", LIMITS) as clip:
        assert (255, 255, 255) == next(clip.pictures(None, None)).getpixel((0, 0))


def test_a_video_that_breaks_off_is_read_as_far_as_it_goes(tmp_path):
    """A download that was cut short still has its beginning."""
    whole = video(tmp_path / "a.mkv", 30, size=(320, 240), codec="mjpeg", format="yuvj420p")
    part = tmp_path / "part.mkv"
    part.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])

    frames = shown(part)

    assert 10 < len(frames) < 20
    assert list(range(len(frames))) == frames


def test_a_video_without_a_table_of_contents_is_refused(tmp_path):
    """An MP4 keeps it at its end: one that breaks off cannot be read at all."""
    whole = video(tmp_path / "a.mp4", 24)
    part = tmp_path / "part.mp4"
    part.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])

    with pytest.raises(Refusal, match="cannot be decoded") as refused:
        opened(part)

    assert "unsupported_video_format" == refused.value.type
    assert "mp4" in refused.value.ctx["supported_formats"]


def test_a_video_without_frames_is_refused(tmp_path):
    """A header is not a video."""
    path = tmp_path / "a.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc=64x48:d=1:r=10", "-frames:v", "0", path)

    with pytest.raises(Refusal):
        opened(path)


def test_sound_alone_is_refused(tmp_path):
    """An MP4 may well be a song."""
    path = tmp_path / "a.mp4"
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.5", path)

    with pytest.raises(Refusal, match="no video stream"):
        opened(path)


def test_a_codec_outside_the_table_is_refused(tmp_path):
    """Its decoder is one of hundreds, and some write past their buffers."""
    path = video(tmp_path / "a.mkv", 3, codec="ffv1")

    with pytest.raises(Refusal, match="supported codec"):
        opened(path)


def test_a_video_of_too_many_pixels_is_refused(tmp_path):
    """2.5 MB may unpack to half a gigabyte a frame."""
    with pytest.raises(Refusal) as refused:
        opened(video(tmp_path / "a.mp4", 2), video_pixels=64 * 48 - 1)

    assert {"max_height": 55, "max_width": 55} == refused.value.ctx


def test_a_video_that_is_too_long_is_refused(tmp_path):
    """By its stamps; the header may say what it likes."""
    path = video(tmp_path / "a.mp4", fps=10, stamps=[0, 10, 6_100])

    with pytest.raises(Refusal, match="at most 600 seconds") as refused:
        opened(path)

    assert "video_duration_too_long" == refused.value.type
    assert 600.0 == refused.value.ctx["max_duration"]


def test_a_video_of_too_many_frames_a_second_is_refused(tmp_path):
    """A second of it would take as long as a minute of another."""
    with pytest.raises(Refusal, match="1000 frames a second; at most 240"):
        opened(video(tmp_path / "a.mp4", 20, fps=1000))
