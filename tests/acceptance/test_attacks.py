"""Files made to break their readers, sent to a real server: each one ends its own job, no more.

What each file does to its reader is tested beside that reader; here is the whole way: the request
is accepted, no slot is bothered, the job ends with 422 and a sentence, the server lives on.
"""

from __future__ import annotations

import ast
import base64
import json
import os
import pickle
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.contract.sync_client import ENDPOINT, TINY
from tests.running_server import running_server
from tests.server.dispatch.conftest import wait_until
from tests.shared_data import shared
from tests.wan_local.media.files import picture, png_of_zeros, video

A14B = "fal-ai/wan/v2.2-a14b"
ENDED_WITHIN = 60.0
"""Seconds; the promise is one second of computing, and machines are busy."""
CHILD_SECONDS, CHILD_MB = 1.0, 200.0
TICKS = os.sysconf("SC_CLK_TCK")
PLAYLIST = (
    b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'


@pytest.fixture(scope="module")
def server(weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("attacks") / "data"
    with running_server(folder, weights, tls=False) as server:
        yield server


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


class Watch:
    """Looks again and again at the processes that decode for *pid*; use it in a `with`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.seconds: dict[str, float] = {}
        self.megabytes: dict[str, float] = {}

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.005):
            for task in Path(f"/proc/{self._pid}/task").iterdir():
                with suppress(OSError, IndexError):  # threads and children end while we look
                    self._note((task / "children").read_text().split())

    def _note(self, children: list[str]) -> None:
        for child in children:
            place = Path("/proc") / child
            if b"wan_local.media.child" in (place / "cmdline").read_bytes():
                times = (place / "stat").read_text().rpartition(")")[2].split()[11:13]
                self.seconds[child] = sum(map(int, times)) / TICKS
                self.megabytes[child] = peak_mb(child)


def peak_mb(pid: int | str) -> float:
    """Return the most memory that *pid* has had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def data_uri(content: bytes, type: str) -> str:
    return f"data:{type};base64,{base64.b64encode(content).decode()}"


def images(tmp_path) -> dict[str, bytes]:
    half = picture(tmp_path / "ok.png").read_bytes()[:60]
    return {
        "a picture of 177 million pixels in 22 KB": png_of_zeros(13_300, 13_300),
        "a picture of 60 000 to a side": png_of_zeros(60_000, 2_000),
        "a playlist": PLAYLIST,
        "an SVG that names a file of ours": SVG,
        "nothing": b"",
        "half a picture": half,
        "a pickle": pickle.dumps({"a": 1}),
        "a video": video(tmp_path / "ok.mp4", 4).read_bytes(),
    }


def videos(tmp_path) -> dict[str, bytes]:
    ok = video(tmp_path / "ok.mp4", 20, size=(320, 240)).read_bytes()
    wide = video(tmp_path / "wide.mp4", 1, size=(12_000, 12_000), preset="ultrafast")
    long = video(tmp_path / "long.mp4", stamps=list(range(0, 3_200_000, 1_600)))
    return {
        "a frame of 144 million pixels": wide.read_bytes(),
        "200 000 seconds": long.read_bytes(),
        "half a video": ok[:2_000],
        "the head of a video": ok[:40],
        "zeros after an MP4's first bytes": b"\x00\x00\x00\x18ftypmp42" + bytes(10**6),
        "zeros after a Matroska's first bytes": b"\x1aE\xdf\xa3" + bytes(10**6),
        "a list of files": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        "a playlist": PLAYLIST,
        "a picture": picture(tmp_path / "ok.png").read_bytes(),
    }


def a_safetensors(entries: dict[str, object], data: bytes = b"") -> bytes:
    header = json.dumps(entries).encode()
    return struct.pack("<Q", len(header)) + header + data


def loras() -> dict[str, bytes]:
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    key = "diffusion_model.blocks.0.self_attn.q.lora_{}.weight"
    wrong = {
        key.format("A"): {"dtype": "F32", "shape": [1, 3], "data_offsets": [0, 12]},
        key.format("B"): {"dtype": "F32", "shape": [3, 1], "data_offsets": [12, 24]},
    }
    return {
        "a pickle": pickle.dumps({"a": 1}),
        "a zip archive, as torch saves": b"PK\x03\x04" + bytes(2000),
        "a web page": b"<!DOCTYPE html><html>please log in</html>",
        "a header of 2**63 bytes": struct.pack("<Q", 2**63) + b"{}",
        "a header in 100 000 brackets": struct.pack("<Q", 200_000) + b"[" * 100_000 + b"]" * 10**5,
        "30 000 empty tensors": a_safetensors({f"t{n}": empty for n in range(30_000)}),
        "a name that leaves its folder": a_safetensors({"../../etc/passwd": empty}),
        "a tensor past the end": a_safetensors(
            {"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}
        ),
        "another model's shapes": a_safetensors(wrong, bytes(24)),
    }


def upload(client, content: bytes, name: str) -> str:
    headers = {"x-fal-file-name": name, "content-type": "application/octet-stream"}
    answer = client.post("/cdn/files/upload", content=content, headers=headers)
    return answer.raise_for_status().json()["access_url"]


def send(client, endpoint: str, body: dict[str, object]) -> tuple[float, dict[str, object]]:
    """Submit *body* and return the seconds to the job's end and the body of its 422."""
    began = time.monotonic()
    submitted = client.post(f"/queue/{endpoint}", json={"prompt": "a cat", **body})
    if submitted.status_code == 422:
        return time.monotonic() - began, submitted.json()
    job = submitted.raise_for_status().json()
    wait_until(lambda: client.get(job["status_url"]).json()["status"] == "COMPLETED", ENDED_WITHIN)
    took = time.monotonic() - began
    result = client.get(job["response_url"])
    assert 422 == result.status_code, result.text
    return took, result.json()


def assert_each_is_refused(client, endpoint, bodies) -> None:
    """Assert that each of *bodies* ends in fal's shape and in words, and print its seconds."""
    with ThreadPoolExecutor(4) as threads:
        ends = list(threads.map(lambda body: send(client, endpoint, body), bodies.values()))
    for name, (took, end) in zip(bodies, ends, strict=True):
        (detail,) = end["detail"]
        print(f"{took:6.2f} s  {name}: {detail['msg']}")
        assert {"loc", "msg", "type", "url"} <= set(detail), name
        assert "body" == detail["loc"][0], name
        assert 2 < len(detail["msg"].split()), name
        assert "Traceback" not in detail["msg"], name
        # Said when the address has answered, if only to say that it has no such file.
        assert "could not be downloaded" not in detail["msg"], name


def assert_cheap(watch: Watch) -> None:
    assert watch.seconds
    print(f"children: {max(watch.seconds.values())} s, {max(watch.megabytes.values()):.0f} MB")
    assert max(watch.seconds.values()) < CHILD_SECONDS
    assert max(watch.megabytes.values()) < CHILD_MB


def test_pictures_that_are_none(server, client, tmp_path):
    """A picture of 22 KB that takes 863 MB to decode is an afternoon of a shared server."""
    bodies = {
        name: {"image_url": data_uri(content, "image/png")}
        for name, content in images(tmp_path).items()
    }
    with Watch(server.pid) as watch:
        assert_each_is_refused(client, f"{A14B}/image-to-video", bodies)
    assert_cheap(watch)


def test_videos_that_are_none(server, client, tmp_path):
    """Demuxers are the oldest hole of every media server."""
    bodies = {
        name: {"video_url": data_uri(content, "video/mp4")}
        for name, content in videos(tmp_path).items()
    }
    with Watch(server.pid) as watch:
        assert_each_is_refused(client, f"{A14B}/video-to-video", bodies)
    assert_cheap(watch)


def test_loras_that_are_none(server, client):
    """They come from strangers' pages, and a pickle runs what it likes."""
    before = peak_mb(server.pid)
    bodies = {
        name: {**TINY, "loras": [{"path": upload(client, content, "style.safetensors")}]}
        for name, content in loras().items()
    }
    assert_each_is_refused(client, f"{A14B}/text-to-video/lora", bodies)

    print(f"the server's peak grew by {peak_mb(server.pid) - before:.0f} MB")
    assert peak_mb(server.pid) - before < 200


def test_the_corpus_of_safetensors(server, client):
    """Twenty files made by hand to break readers."""
    folder = shared("prototypes/reliability/corpora/safetensors")
    bodies = {
        path.stem: {
            **TINY,
            "loras": [{"path": upload(client, path.read_bytes(), "style.safetensors")}],
        }
        for path in sorted(folder.iterdir())
    }
    assert_each_is_refused(client, f"{A14B}/text-to-video/lora", bodies)


def test_addresses_inside_the_house(weights, tmp_path):
    """A server that may fetch from the internet may still not ask its own network for anything."""
    lines = shared("prototypes/reliability/corpora/ssrf_urls.txt").read_text().splitlines()
    bodies = {line: {"image_url": ast.literal_eval(line)} for line in lines}
    flags = {"WAN_LOCAL_FETCH_PUBLIC": "true", "WAN_LOCAL_FETCH_TIMEOUT": "5"}

    assert len(bodies) > 100
    with (
        running_server(tmp_path / "data", weights, tls=False, **flags) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        assert_each_is_refused(client, f"{A14B}/image-to-video", bodies)


def test_and_after_all_that_the_server_makes_videos(server, client):
    """With the same slot, which has heard of none of it."""
    job = client.post(f"/queue/{ENDPOINT}", json=TINY).json()
    wait_until(lambda: client.get(job["status_url"]).json()["status"] == "COMPLETED", 120)

    assert 200 == client.get(job["response_url"]).status_code
