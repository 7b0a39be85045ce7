"""All fifteen endpoints through the real fal_client, and every output opened.

The checkpoints are the small ones: what is checked is that each request becomes the file that it
asked for, of the right kind, size, length and rate, and not a grey one; and that what it brought
besides, LoRAs and frames between, is in it.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from fractions import Fraction

import av
import fal_client
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from server.endpoints import ENDPOINTS
from server.media.lora_library import LoraLibrary
from tests.running_server import ROOT
from tests.watching import watch
from wan_local.interpolation.rife import Rife, RifeLayout
from weights.small_loras import PAIRS

A14B = "fal-ai/wan/v2.2-a14b"
B5 = "fal-ai/wan/v2.2-5b"
SHORT = {"prompt": "a cat", "seed": 7, "num_frames": 17, "num_inference_steps": 2}
PLAIN = SHORT | {"resolution": "480p", "interpolator_model": "none"}
SMALL = SHORT | {"resolution": "580p"}
TURBO = {"prompt": "a cat", "seed": 7, "resolution": "480p", "video_write_mode": "fast"}
STILL = {"prompt": "a cat", "seed": 7, "num_inference_steps": 2}
WITHOUT = " without its LoRA"
REGISTERED = "small-brush"
BETWEEN = {"num_interpolated_frames": 1}
HIGH_T2V, _, HIGH_I2V, _ = sorted(PAIRS, key=lambda name: ("i2v" in name, name))
"""LoRAs with random weights, that the builder of the small checkpoints makes."""


@dataclass(frozen=True)
class Shown:
    """What is to be seen in an output; sizes are those of the small checkpoints."""

    size: tuple[int, int]
    frames: int = 1
    fps: int | None = None
    kind: str = "video/mp4"


def picture(width=640, height=360):
    """A drawing, as PNG."""
    image = Image.new("RGB", (width, height), "steelblue")
    draw = ImageDraw.Draw(image)
    draw.ellipse((width // 10, height // 6, width // 2, height * 5 // 6), fill="tomato")
    draw.rectangle((width * 6 // 10, height // 4, width * 9 // 10, height * 3 // 4), fill="gold")
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def film(frames=40, fps=32, size=(96, 128)):
    """A bar that moves down an upright film, as MP4."""
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=Fraction(fps))
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        for number in range(frames):
            pixels = np.full((size[1], size[0], 3), 60, np.uint8)
            pixels[2 * number : 2 * number + 24] = (240, 80, 40)
            for packet in video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        container.mux(video.encode())
    return stream.getvalue()


def upload(server, data, name):
    """Store *data* as the JavaScript client does, and return its URL."""
    body = json.dumps({"file_name": name, "content_type": "application/octet-stream"}).encode()
    initiate = urllib.request.Request(
        f"{server.url}/rest/storage/upload/initiate?storage_type=fal-cdn-v3",
        body,
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(initiate) as answer:
        urls = json.load(answer)
    with urllib.request.urlopen(
        urllib.request.Request(urls["upload_url"], data, method="PUT")
    ) as answer:
        assert 200 == answer.status
    return urls["file_url"]


def requests_of_a14b(server, weights):
    """What is asked of each A14B endpoint, and what is to be seen then.

    What follows an endpoint's name is another request to it.
    """
    drawing = fal_client.encode(picture(), "image/png")
    upright = upload(server, picture(360, 640), "upright.png")
    moving = upload(server, film(), "film.mp4")
    brush = upload(server, (weights / "loras" / HIGH_T2V).read_bytes(), "brush.safetensors")
    uploaded = {"loras": [{"path": brush, "transformer": "both", "scale": 8}]}
    registered = {"loras": [{"path": REGISTERED, "scale": 1.5}]}
    wide, tall = (112, 64), (64, 112)
    png = {"image_size": {"width": 100, "height": 64}, "image_format": "png"}
    return {
        f"{A14B}/text-to-video": (PLAIN, Shown(wide, 17, 16)),
        f"{A14B}/text-to-video/turbo": (TURBO | {"aspect_ratio": "9:16"}, Shown(tall, 81, 16)),
        f"{A14B}/text-to-video/lora": (PLAIN | uploaded, Shown(wide, 17, 16)),
        f"{A14B}/text-to-video/lora{WITHOUT}": (
            PLAIN | {"reverse_video": True, "frames_per_second": 12},
            Shown(wide, 17, 12),
        ),
        f"{A14B}/image-to-video": (
            PLAIN | {"image_url": drawing, "end_image_url": upright},
            Shown(wide, 17, 16),
        ),
        f"{A14B}/image-to-video/turbo": (TURBO | {"image_url": upright}, Shown(tall, 81, 16)),
        f"{A14B}/image-to-video/lora": (
            PLAIN | {"image_url": upright, "aspect_ratio": "1:1"} | registered,
            Shown((80, 80), 17, 16),
        ),
        f"{A14B}/image-to-video/lora{WITHOUT}": (
            PLAIN | {"image_url": upright, "aspect_ratio": "1:1", "loras": []},
            Shown((80, 80), 17, 16),
        ),
        f"{A14B}/video-to-video": (
            # 40 frames at 32 a second are 20 at 16.
            PLAIN | {"video_url": moving, "num_frames": 81, "resample_fps": True, "strength": 0.6},
            Shown((64, 80), 20, 16),
        ),
        f"{A14B}/text-to-image": (
            STILL | {"image_size": {"width": 128, "height": 64}},
            Shown((128, 64), kind="image/jpeg"),
        ),
        f"{A14B}/text-to-image/lora": (
            STILL | png | uploaded,
            Shown((96, 64), kind="image/png"),
        ),
        f"{A14B}/text-to-image/lora{WITHOUT}": (STILL | png, Shown((96, 64), kind="image/png")),
        f"{A14B}/image-to-image": (
            STILL | {"image_url": drawing, "image_size": {"width": 128, "height": 64}},
            Shown((128, 64), kind="image/jpeg"),
        ),
        # The same endpoint again, with a file that is none.
        f"{A14B}/image-to-video not a picture": (
            PLAIN | {"image_url": upload(server, b"nothing to see here" * 9, "fake.png")},
            None,
        ),
    }


def requests_of_5b(server):
    """The same for the 5B model."""
    upright, wide_5b = upload(server, picture(360, 640), "upright.png"), (160, 96)
    return {
        f"{B5}/text-to-video": (
            SMALL | BETWEEN | {"interpolator_model": "rife"},
            Shown(wide_5b, 33, 48),
        ),
        f"{B5}/text-to-video/distill": (SMALL, Shown(wide_5b, 17, 24)),
        f"{B5}/text-to-video/fast-wan": (
            {"prompt": "a cat", "num_frames": 17, "resolution": "480p", "frames_per_second": 8},
            Shown(wide_5b, 17, 8),
        ),
        # Of FILM's weights there are none, so that no frame comes between.
        f"{B5}/image-to-video": (
            SMALL | BETWEEN | {"image_url": upright, "interpolator_model": "film"},
            Shown((96, 160), 17, 24),
        ),
        f"{B5}/text-to-image": (
            STILL | {"image_size": {"width": 128, "height": 64}, "image_format": "png"},
            Shown((128, 64), kind="image/png"),
        ),
    }


@pytest.fixture(scope="module")
def beside(weights):
    """Lay a LoRA with a name and a small RIFE, untrained, beside the checkpoints, for a while."""
    library, folder = LoraLibrary(weights / "loras"), weights / "interpolation" / "rife"
    library.add(REGISTERED, weights / "loras" / HIGH_I2V)
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    save_file(Rife(RifeLayout((8, 8, 8, 8))).state_dict(), folder / "rife.safetensors")
    yield
    library.remove(REGISTERED)
    shutil.rmtree(weights / "interpolation")


@pytest.fixture(scope="module")
def asked(server, weights):
    """The requests of this module."""
    return requests_of_a14b(server, weights) | requests_of_5b(server)


@pytest.fixture(scope="module")
def outcomes(server, asked, beside):
    """What became of them, as one program of fal_client saw it."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.contract.many_client"],
        cwd=ROOT,
        env=server.fal_environment,
        input=json.dumps({name: arguments for name, (arguments, _) in asked.items()}),
        capture_output=True,
        text=True,
    )
    assert 0 == ran.returncode, ran.stderr
    return json.loads(ran.stdout)


@pytest.fixture
def fetch(server):
    """Fetch a stored file over plain HTTP; returns its bytes and what it is served as."""

    def fetch(url):
        path = url.split("/", 3)[3]
        with urllib.request.urlopen(f"{server.url}/{path}") as answer:
            return answer.read(), answer.headers["content-type"]

    return fetch


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_output_is_what_was_asked_for(endpoint, asked, outcomes, fetch):
    """Downloaded, decoded and measured; the answer says of it what it is."""
    _, shown = asked[endpoint]
    assert "result" in outcomes[endpoint], outcomes[endpoint]
    result = outcomes[endpoint]["result"]
    file = result["image" if shown.fps is None else "video"]
    data, served_as = fetch(file["url"])

    assert shown.kind == served_as == file["content_type"]
    assert len(data) == file["file_size"]
    assert shown.size == (file["width"], file["height"])
    assert "seed" in result
    if shown.fps is None:
        with Image.open(io.BytesIO(data)) as image:
            assert (shown.size, shown.kind) == (image.size, Image.MIME[image.format])
            pixels = np.asarray(image.convert("RGB"))
        assert file["file_name"].endswith(".png" if shown.kind == "image/png" else ".jpg")
        assert pixels.std() > 5
        return
    frames = watch(data)
    with av.open(io.BytesIO(data)) as container:
        assert shown.fps == container.streams.video[0].average_rate
    assert (shown.frames, shown.size[1], shown.size[0], 3) == frames.shape
    assert (shown.frames, shown.fps) == (file["num_frames"], file["fps"])
    assert frames.std(axis=(1, 2, 3)).min() > 5


def test_a_reversed_video_is_the_same_one_from_its_end(outcomes, fetch):
    """Same prompt, seed and steps; the encoder alone comes between."""
    forward, backward = (
        watch(fetch(outcomes[f"{A14B}/text-to-video{name}"]["result"]["video"]["url"])[0])
        for name in ("", f"/lora{WITHOUT}")
    )
    difference = np.abs(forward.astype(int) - backward[::-1]).mean()

    assert 12 > difference < np.abs(forward.astype(int) - backward).mean() / 2


def seen(file):
    """The frames of a video, or of an image the one."""
    return watch(file) if b"ftyp" == file[4:8] else np.asarray(Image.open(io.BytesIO(file)))[None]


@pytest.mark.parametrize(
    ("task", "without"),
    [
        ("text-to-video", "text-to-video"),
        ("image-to-video", f"image-to-video/lora{WITHOUT}"),
        ("text-to-image", f"text-to-image/lora{WITHOUT}"),
    ],
)
def test_a_lora_changes_what_is_made(task, without, outcomes, fetch):
    """The same prompt and seed look different with it; twice without, they are the same bytes."""
    shown, plain = (
        seen(fetch((result.get("video") or result["image"])["url"])[0]).astype(int)
        for result in (outcomes[f"{A14B}/{name}"]["result"] for name in (f"{task}/lora", without))
    )

    assert np.abs(shown - plain).mean(axis=(1, 2, 3)).min() > 0.5


@pytest.mark.parametrize(
    ("task", "name", "use"),
    [
        ("text-to-video", "brush.safetensors", "applied to both experts, scale 8"),
        ("image-to-video", REGISTERED, "applied to the high-noise expert only, scale 1.5"),
        ("text-to-image", "brush.safetensors", "applied to both experts, scale 8"),
    ],
)
def test_the_log_says_how_much_of_a_lora_was_used(task, name, use, outcomes):
    """A LoRA that changes less than all of its keys would is found here, not by eye."""
    log = outcomes[f"{A14B}/{task}/lora"]["log"]

    assert any("60 of 60 keys change 20 weights; rank 4" in line for line in log), log
    assert any(use in line for line in log), log
    assert not any("LoRA" in line for line in outcomes[f"{A14B}/{task}/lora{WITHOUT}"]["log"])


def test_every_endpoint_was_asked(asked):
    """A new row needs a request here."""
    assert set(ENDPOINTS) == {name.partition(" ")[0] for name in asked}


def test_a_file_that_is_no_picture_is_pointed_at(outcomes):
    """Its name and its type said PNG; the job ends before any GPU is asked."""
    outcome = outcomes[f"{A14B}/image-to-video not a picture"]

    assert 422 == outcome["status"]
    assert ["body", "image_url"] == outcome["detail"][0]["loc"]


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        (f"{A14B}/video-to-video", "the input video has 20 frames"),
        (f"{A14B}/text-to-image/lora", "an image of 100×64 is made as 96×64"),
        (
            f"{B5}/image-to-video",
            "with film was asked for and left out, so there are 17 frames",
        ),
        (f"{B5}/text-to-video/distill", "no distilled checkpoint of the 5B model is public"),
    ],
)
def test_what_a_client_might_not_expect_is_in_the_log(outcomes, endpoint, said):
    """Nothing is decided silently."""
    assert any(said in line for line in outcomes[endpoint]["log"]), outcomes[endpoint]["log"]
