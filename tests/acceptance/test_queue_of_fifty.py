"""Fifty requests at once, through HTTP, on one slot."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.contract.sync_client import ENDPOINT, TINY
from tests.running_server import running_server


def test_fifty_requests_give_fifty_videos(weights, tmp_path):
    """A studio queues its evening's work in one go: nothing may be lost, doubled or overtaken."""
    seeds = range(50)
    with (
        running_server(tmp_path / "data", weights, tls=False) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
        ThreadPoolExecutor(4) as threads,
    ):
        jobs = list(threads.map(lambda seed: submit(client, seed), seeds))
        positions = list(threads.map(lambda job: follow(client, job), jobs))
        results = [client.get(job["response_url"]).json() for job in jobs]

    assert list(seeds) == [result["seed"] for result in results]
    assert 50 == len({result["video"]["url"] for result in results})
    for seen in positions:
        assert sorted(seen, reverse=True) == seen
    assert max(max(seen) for seen in positions if seen) > 20


def submit(client, seed):
    """Submit one small request."""
    return client.post(f"/queue/{ENDPOINT}", json=TINY | {"seed": seed}).raise_for_status().json()


def follow(client, job):
    """Poll until the job has ended; return the queue positions that were seen on the way."""
    positions = [job["queue_position"]]
    while True:
        status = client.get(job["status_url"]).json()
        if status["status"] == "COMPLETED":
            assert "error" not in status, status
            return positions
        if status["status"] == "IN_QUEUE":
            positions.append(status["queue_position"])
        time.sleep(0.1)
