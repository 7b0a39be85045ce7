"""A picture of a running job, the whole way: header, engine, slot, board, events, JPEG."""

from __future__ import annotations

import io
import json
from contextlib import closing

import httpx
from PIL import Image

from tests.contract.sync_client import ENDPOINT, LONG
from tests.running_server import running_server


def test_a_page_sees_a_job_take_shape(weights, tmp_path):
    """And sees nothing any more once the job is cancelled."""
    with (
        running_server(tmp_path / "data", weights, tls=False) as server,
        httpx.Client(base_url=server.url, timeout=120) as client,
    ):
        answer = client.post(f"/queue/{ENDPOINT}", json=LONG, headers={"X-Wan-Preview": "2"})
        job = answer.raise_for_status().json()
        with closing(statuses(client, job)) as running:
            shown = (status["preview_url"] for status in running if "preview_url" in status)
            first = next(shown)
            later = next(url for url in shown if url != first)
            picture = client.get(later)
        client.put(job["cancel_url"])
        *_, last = statuses(client, job)
        gone = client.get(later)

    assert "image/jpeg" == picture.headers["content-type"]
    assert len(picture.content) <= 64 * 1024
    with Image.open(io.BytesIO(picture.content)) as image:
        assert ("JPEG", 256) == (image.format, max(image.size))
    assert [0, 0] == [int(url.rpartition("=")[2]) % 2 for url in (first, later)]
    assert "COMPLETED" == last["status"]
    assert "preview_url" not in last
    assert 404 == gone.status_code


def statuses(client, job):
    """Yield what the job's stream of events says."""
    with client.stream("GET", f"{job['status_url']}/stream") as events:
        for line in events.iter_lines():
            if line.startswith("data:"):
                yield json.loads(line[5:])
