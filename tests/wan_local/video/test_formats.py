"""The words of the API in ffmpeg's own."""

from __future__ import annotations

from typing import get_args

import av
import numpy as np
import pytest
import torch

from wan_local.geometry import Size
from wan_local.plan import ENDINGS, EncodingSpec, VideoFormat
from wan_local.video.formats import CODECS, CRF, PRESET, ffmpeg_arguments, white_of
from wan_local.video.probe import probe
from wan_local.video.sequences import SEQUENCES
from wan_local.video.writer import VideoWriter

SIZE = Size(64, 48)
CHART = Size(256, 128)  # DNxHR is no smaller


def ramp():
    """Up to white, in steps finer than 8 bits: 51 of its levels over 256 pixels."""
    return np.linspace(0.8, 1.0, CHART.width)


def encoded(path, format):
    white = white_of(format)
    grey = np.round(ramp() * white).astype(np.uint8 if white == 255 else np.uint16)
    frames = np.broadcast_to(grey[None, None, :, None], (2, CHART.height, CHART.width, 3)).copy()
    spec = EncodingSpec(format=format, quality="maximum")
    with VideoWriter(path, CHART, fps=16, encoding=spec) as video:
        video.write(torch.from_numpy(frames))
    return frames


def brightness(path):
    """Return the first frame's brightness, 0 to 1, in the format's own precision."""
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0))
    bits = 10 if "10" in picture.format.name else 12 if "12" in picture.format.name else 8
    plane = picture.planes[0]
    dtype = np.uint8 if bits == 8 else np.uint16
    rows = np.frombuffer(bytes(plane), dtype).reshape(plane.height, -1)[:, : plane.width]
    return (rows / 2 ** (bits - 8) - 16) / 219


@pytest.mark.parametrize("mode", PRESET)
def test_a_write_mode_is_an_x264_preset(mode):
    """Fast, balanced and small are about ffmpeg's time against the file's size."""
    arguments = ffmpeg_arguments(SIZE, 16, EncodingSpec(write_mode=mode))

    assert PRESET[mode] == arguments[arguments.index("-preset") + 1]
    assert ["veryfast", "medium", "slow"] == list(PRESET.values())


@pytest.mark.parametrize("quality", CRF)
def test_a_quality_is_a_constant_rate_factor(quality):
    """The four words of the API, from small to nearly lossless."""
    arguments = ffmpeg_arguments(SIZE, 16, EncodingSpec(quality=quality))

    assert str(CRF[quality]) == arguments[arguments.index("-crf") + 1]
    assert [28, 23, 18, 12] == list(CRF.values())


YUV = {
    "hevc10": ("hevc", "hvc1", "yuv420p10le", 150),
    "prores422": ("prores", "apch", "yuv422p10le", 150),
    "prores4444": ("prores", "ap4h", "yuv444p12le", 150),
    "dnxhr": ("dnxhd", "AVdh", "yuv422p10le", 150),
    "h264": ("h264", "avc1", "yuv420p", 40),
}


@pytest.mark.parametrize("format", YUV)
def test_a_format_is_what_its_name_says_and_has_its_precision(tmp_path, format):
    """Ten bits made of eight would have the steps of eight: the ramp counts them."""
    codec, tag, pixels, levels = YUV[format]
    path = tmp_path / f"a{ENDINGS[format]}"
    encoded(path, format)
    info, seen = probe(path), brightness(path)

    assert (codec, pixels, (1, 1, 1, 1)) == (info.codec, info.pixel_format, info.colours)
    assert (CHART, 16, 2, True) == (info.size, info.fps, info.num_frames, info.faststart)
    with av.open(str(path)) as container:
        assert tag == container.streams.video[0].codec_context.codec_tag
    assert len(np.unique(seen)) > levels
    assert np.abs(seen - ramp()).mean() < (1 / 255 if format == "h264" else 0.25 / 255)


def test_ffv1_is_lossless_in_sixteen_bits(tmp_path):
    """What a studio keeps must be what the decoder made."""
    frames = encoded(tmp_path / "a.mkv", "ffv1")
    with av.open(str(tmp_path / "a.mkv")) as container:
        back = [f.to_ndarray(format="rgb48le") for f in container.decode(video=0)]

    assert np.array_equal(frames, np.stack(back))
    assert 2 == probe(tmp_path / "a.mkv").num_frames


def test_every_format_has_a_writer_and_an_ending():
    """A format that is only a word would fail its first job."""
    assert set(get_args(VideoFormat)) == CODECS.keys() | SEQUENCES.keys()
    assert set(get_args(VideoFormat)) == ENDINGS.keys()
    assert {"h264", "png8"} == {n for n in get_args(VideoFormat) if white_of(n) == 255}


@pytest.mark.parametrize(("format", "codec"), [("h264", "h264_nvenc"), ("hevc10", "hevc_nvenc")])
def test_the_gpus_encoder_is_another_encoder_of_the_same_format(format, codec):
    """Same container, same colours, same key frames."""
    spec = EncodingSpec(format=format, encoder="nvenc")
    ours = ffmpeg_arguments(SIZE, 16, EncodingSpec(format=format))
    theirs = ffmpeg_arguments(SIZE, 16, spec)

    assert codec == theirs[theirs.index("-c:v") + 1]
    assert {"-vf", "-g", "-movflags"} < set(ours) & set(theirs)
