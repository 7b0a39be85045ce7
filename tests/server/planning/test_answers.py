"""What a client gets in the end."""

from __future__ import annotations

import pytest

from server.planning.answers import (
    answer_with_changed_image,
    answer_with_image,
    answer_with_video,
)
from server.schemas.common import File
from wan_local.events import Finished
from wan_local.geometry import Size

FINISHED = Finished(
    path="/x", size=Size(64, 48), num_frames=5, fps=16.0, seed=7, prompt="a red cat"
)


def test_a_video_is_described_as_it_was_made():
    """The prompt and seed that were used, the frames that there are, and no empty fields."""
    file = File(url="/cdn/files/t/a.mp4", content_type="video/mp4")

    assert {
        "video": {
            "url": "/cdn/files/t/a.mp4",
            "content_type": "video/mp4",
            "width": 64,
            "height": 48,
            "fps": 16.0,
            "num_frames": 5,
            "duration": 0.3125,
        },
        "prompt": "a red cat",
        "seed": 7,
    } == answer_with_video(file, FINISHED)


@pytest.mark.parametrize(
    ("answer", "more"),
    [(answer_with_image, {}), (answer_with_changed_image, {"prompt": "a red cat"})],
)
def test_an_image_has_a_size_and_no_time(answer, more):
    """As fal's `Image` has; only image-to-image repeats the prompt there."""
    file = File(url="/cdn/files/t/a.png", content_type="image/png", file_size=9)
    image = {
        "url": "/cdn/files/t/a.png",
        "content_type": "image/png",
        "file_size": 9,
        "width": 64,
        "height": 48,
    }

    assert {"image": image, "seed": 7, **more} == answer(file, FINISHED)
