"""The application inside the real web server: what no test client can show."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from granian.constants import Interfaces
from granian.server.embed import Server

from server.app import create_app
from server.certificates import make_certificates
from server.jobs.model import JobState, LogEntry, NewJob
from server.reporting import succeeded
from server.services import open_services
from server.settings import Settings

ROOT = Path(__file__).parents[2]
ENDPOINT = "fal-ai/wan/v2.2-a14b/text-to-video"

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def services(tmp_path):
    opened = open_services(Settings(data_dir=tmp_path / "data", weights_dir=tmp_path))
    yield opened
    opened.close()


@asynccontextmanager
async def serving(services, scheme="http", **options):
    """Serve the application on a free port; yield the base of its URLs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(
        create_app(services),
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGINL,
        log_enabled=False,
        **options,
    )
    serving = asyncio.create_task(server.serve())
    await until(lambda: reachable(port))
    try:
        yield f"{scheme}://127.0.0.1:{port}"
    finally:
        server.stop()
        await serving


async def until(condition):
    while not condition():  # noqa: ASYNC110 - what is waited for happens in threads
        await asyncio.sleep(0.02)


def reachable(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def event(lines):
    """Return the next event of a stream."""
    async for line in lines:
        if line.startswith("data: "):
            return json.loads(line.removeprefix("data: "))
    raise EOFError


def job_of(services):
    services.jobs.submit(NewJob(endpoint=ENDPOINT, input={}, seed=1))
    return services.jobs.claim("gpu0", frozenset())


async def test_a_poll_and_a_result_over_https(services, tmp_path):
    """Fal's Python client speaks nothing else, and trusts what SSL_CERT_FILE names."""
    made = make_certificates(tmp_path / "tls")
    job = job_of(services)
    trust = ssl.create_default_context(cafile=made.authority)
    pair = {"ssl_cert": made.certificate, "ssl_key": made.key}
    async with serving(services, "https", **pair) as url, httpx.AsyncClient(verify=trust) as http:
        job_url = f"{url}/queue/fal-ai/wan/requests/{job.id}"
        before = await http.get(f"{job_url}/status")
        services.jobs.finish(job.id, job.attempt, succeeded({"video": {"url": "/cdn/files/t/a"}}))
        after = await http.get(job_url)

    assert (202, job_url) == (before.status_code, before.json()["response_url"])
    assert (200, f"{url}/cdn/files/t/a") == (after.status_code, after.json()["video"]["url"])


async def test_a_status_of_499_gets_through(services):
    """It is in no registry, and the result of a cancelled job has it."""
    job = services.jobs.submit(NewJob(endpoint=ENDPOINT, input={}, seed=1))
    services.jobs.cancel(job.id)
    async with serving(services) as url, httpx.AsyncClient() as http:
        answer = await http.get(f"{url}/queue/fal-ai/wan/requests/{job.id}")

    assert 499 == answer.status_code


async def test_events_arrive_as_they_happen(services):
    """A stream that is gathered first and sent at the end would be no stream."""
    job = job_of(services)
    seen = []
    async with serving(services) as url, httpx.AsyncClient(timeout=30) as http:
        stream = f"{url}/queue/fal-ai/wan/requests/{job.id}/status/stream?logs=1"
        async with http.stream("GET", stream) as answer:
            lines = answer.aiter_lines()
            seen.append(await event(lines))
            services.jobs.log(job.id, job.attempt, LogEntry(1.0, "INFO", "step 1"))
            seen.append(await event(lines))
            services.jobs.finish(job.id, job.attempt, succeeded({}))
            seen.append(await event(lines))

    assert ["IN_PROGRESS", "IN_PROGRESS", "COMPLETED"] == [body["status"] for body in seen]
    assert [[], ["step 1"], []] == [[log["message"] for log in body["logs"]] for body in seen]


async def test_a_large_file_comes_back_whole_and_in_ranges(services, tmp_path):
    """Sent by the server's own file path, which no test client takes."""
    content = bytes(range(256)) * 20_000
    async with serving(services) as url, httpx.AsyncClient(timeout=30) as http:
        sent = await http.post(f"{url}/cdn/files/upload", content=content)
        file = sent.json()["access_url"]
        whole, head = await http.get(file), await http.head(file)
        part = await http.get(file, headers={"range": "bytes=1000000-1999999"})

    assert content == whole.content
    assert str(len(content)) == head.headers["content-length"]
    assert (206, content[1_000_000:2_000_000]) == (part.status_code, part.content)


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_past_the_limit_is_answered(services, chunked):
    """A reset connection would make fal_client send it all again, ten times."""
    limit = services.settings.max_json_bytes

    async def pieces():
        for _ in range(limit // 2**20 + 4):
            yield b"x" * 2**20

    async with serving(services) as url, httpx.AsyncClient(timeout=60) as http:
        content = pieces() if chunked else b"x" * (limit + 1)
        answer = await http.post(f"{url}/queue/{ENDPOINT}", content=content)

    assert 413 == answer.status_code


async def test_a_reader_that_leaves_ends_its_stream(services):
    """Streams of closed tabs would pile up for as long as their jobs wait."""
    job = job_of(services)
    async with serving(services) as url, httpx.AsyncClient(timeout=30) as http:
        watcher = services.jobs._listeners[-1].__self__
        stream = f"{url}/queue/fal-ai/wan/requests/{job.id}/status/stream"
        async with http.stream("GET", stream) as answer:
            await anext(answer.aiter_lines())
            assert [job.id] == list(watcher._waiters)
        await until(lambda: not watcher._waiters)

    assert JobState.RUNNING is services.jobs.get(job.id).state


def test_the_web_process_has_no_torch():
    """It is started a hundred times as often as a GPU process, and must stay small."""
    code = "import sys, server.app; sys.exit('torch' in sys.modules)"

    assert 0 == subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode
