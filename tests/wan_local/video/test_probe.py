"""What is not a video is not taken for one; what is one, `test_writer.py` probes throughout."""

from __future__ import annotations

import pytest

from wan_local.errors import EncodingFailed
from wan_local.video.probe import probe


@pytest.mark.parametrize("content", [b"", b"not a video", b"\x00" * 100])
def test_what_is_no_video_is_refused(tmp_path, content):
    """A probe that guesses would store rubbish under a video's name."""
    (tmp_path / "a.mp4").write_bytes(content)

    with pytest.raises(EncodingFailed, match="not a video"):
        probe(tmp_path / "a.mp4")
