import json
import subprocess
import sys

import pytest

from tests.wan_local.media.files import picture, png_of_zeros, video
from wan_local.errors import BadMedia
from wan_local.geometry import Size
from wan_local.media import MediaInfo, probe_media

# Asks about each file in turn and says what came of it, with the child's computing time and memory.
ASK = """
import json, resource, sys
from pathlib import Path
from wan_local.errors import BadMedia
from wan_local.media import probe_media
for name in sys.argv[1:]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        said = str(probe_media(Path(name)))
    except BadMedia as error:
        said = error.type
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps([said, seconds, after.ru_maxrss / 1024]))
"""
PLAYLIST = (
    b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
CONCAT = b"ffconcat version 1.0\nfile '/etc/passwd'\n"


def test_a_picture_and_a_video_are_told_apart_by_their_bytes(tmp_path):
    """huggingface_hub calls PNG bytes JPEG, and clients send URLs without an ending."""
    image = picture(tmp_path / "a.png").rename(tmp_path / "a.mp4")
    clip = video(tmp_path / "b.mp4", 8, fps=10).rename(tmp_path / "b.png")

    assert MediaInfo(kind="image", size=Size(48, 32)) == probe_media(image)
    assert MediaInfo(
        kind="video", size=Size(64, 48), num_frames=8, fps=10.0, duration=0.8
    ) == probe_media(clip)


@pytest.mark.parametrize(
    ("kind", "type"), [("image", "unsupported_image_format"), ("video", "unsupported_video_format")]
)
def test_the_wrong_kind_is_refused_with_the_formats_that_are_taken(tmp_path, kind, type):
    """A video in an image field is a mistake that the client can mend."""
    files = {"image": video(tmp_path / "a.mp4", 2), "video": picture(tmp_path / "a.png")}

    with pytest.raises(BadMedia) as refused:
        probe_media(files[kind], kind)

    assert type == refused.value.type
    assert refused.value.ctx["supported_formats"]


def test_attack_files_are_refused_cheaply(tmp_path):
    """Each in under a second of computing and 200 MB, as nothing at all: the limits of issue 5."""
    ok = video(tmp_path / "ok.mp4", 20, size=(320, 240))
    attacks = {
        "bomb.png": (png_of_zeros(13_300, 13_300), "image_too_large"),
        "huge.png": (png_of_zeros(60_000, 2_000), "image_too_large"),
        "playlist.mp4": (PLAYLIST, "unsupported_image_format"),
        "playlist.png": (SVG, "unsupported_image_format"),
        "concat.mp4": (CONCAT, "unsupported_image_format"),
        "empty.mp4": (b"", "unsupported_image_format"),
        "half.mp4": (ok.read_bytes()[:2_000], "unsupported_video_format"),
        "head.mp4": (ok.read_bytes()[:40], "unsupported_video_format"),
        "zeros.mp4": (b"\x00\x00\x00\x18ftypmp42" + bytes(10**6), "unsupported_video_format"),
        "zeros.mkv": (b"\x1aE\xdf\xa3" + bytes(10**6), "unsupported_video_format"),
        "half.png": (picture(tmp_path / "ok.png").read_bytes()[:60], "image_load_error"),
    }
    for name, (data, _) in attacks.items():
        (tmp_path / name).write_bytes(data)
    sides = {"size": (12_000, 12_000), "preset": "ultrafast"}
    video(tmp_path / "wide.mp4", 1, **sides)
    video(tmp_path / "long.mp4", fps=16, stamps=list(range(0, 3_200_000, 1_600)))
    expected = [type for _, type in attacks.values()]
    expected += ["image_too_large", "video_duration_too_long"]

    names = [str(tmp_path / name) for name in (*attacks, "wide.mp4", "long.mp4")]
    asked = subprocess.run([sys.executable, "-c", ASK, *names], capture_output=True, text=True)
    answers = [json.loads(line) for line in asked.stdout.splitlines()]

    print(*zip(names, answers, strict=True), sep="\n")
    assert expected == [said for said, _, _ in answers]
    assert max(seconds for _, seconds, _ in answers) < 1
    assert max(megabytes for _, _, megabytes in answers) < 200
