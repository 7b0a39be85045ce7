"""What files are served as: never what would run in a browser."""

from __future__ import annotations

import pytest

from server.media.content_types import content_type, safe_file_name, shown_in_browser

MP4 = b"\x00\x00\x00\x20ftypisom"


@pytest.mark.parametrize(
    ("head", "name", "expected"),
    [
        (b"\x89PNG\r\n\x1a\n...", "a.jpg", "image/png"),
        (b"\xff\xd8\xff\xe0", "a.png", "image/jpeg"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "a", "image/webp"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "a", "audio/wav"),
        (MP4, "a.bin", "video/mp4"),
        (b"\x00\x00\x00\x14ftypqt  ", "a.mov", "video/quicktime"),
        (b"\x1aE\xdf\xa3", "a", "video/webm"),
        (b"hello", "a.txt", "text/plain; charset=utf-8"),
        (b"{}", "A.JSON", "application/json"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{", "lora.safetensors", "application/octet-stream"),
        (b"", "", "application/octet-stream"),
    ],
)
def test_the_first_bytes_decide(head, name, expected):
    """huggingface_hub labels PNG bytes as JPEG; neither label nor name is believed over bytes."""
    assert expected == content_type(head, name)


@pytest.mark.parametrize("name", ["a.html", "a.svg", "a.xhtml", "a.js", "a.xml", "a.htm"])
def test_nothing_that_runs_scripts_is_served_as_itself(name):
    """A page served from here would run in the API's own origin."""
    type = content_type(b"<svg xmlns='http://www.w3.org/2000/svg' onload='steal()'/>", name)

    assert "application/octet-stream" == type
    assert not shown_in_browser(type)


def test_pictures_and_videos_show_in_place():
    """An artist clicks the result's URL and wants to see it."""
    assert shown_in_browser("video/mp4")
    assert shown_in_browser("image/png")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat.png", "cat.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\cat.png", "cat.png"),
        ("a b&c?d#e.mp4", "a_b_c_d_e.mp4"),
        ('x"\r\nSet-Cookie: a=b.txt', "x_Set-Cookie_a_b.txt"),
        ("Café ünïcode.jpg", "Caf_n_code.jpg"),
        (".htaccess", "htaccess"),
        ("", "file"),
        ("...", "file"),
        ("日本", "_"),
        ("a" * 500 + ".mp4", "a" * 116 + ".mp4"),
        ("a" * 500, "a" * 120),
        ("a." + "b" * 500, "a." + "b" * 118),
    ],
)
def test_a_name_becomes_one_url_segment(name, expected):
    """Names come from strangers and end up in URLs, headers and folders of whoever saves them."""
    assert expected == safe_file_name(name)
