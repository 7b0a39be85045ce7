from wan_local.geometry import Size
from wan_local.media.info import MediaInfo


def test_a_picture_is_one_frame_without_a_rate():
    """Planners ask every input for its frames, pictures too."""
    info = MediaInfo(kind="image", size=Size(640, 480))

    assert (1, None, None) == (info.num_frames, info.fps, info.duration)
