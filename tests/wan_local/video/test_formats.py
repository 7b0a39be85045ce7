"""The words of the API in ffmpeg's own."""

from __future__ import annotations

import pytest

from wan_local.geometry import Size
from wan_local.plan import EncodingSpec
from wan_local.video.formats import CRF, PRESET, ffmpeg_arguments

SIZE = Size(64, 48)


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
