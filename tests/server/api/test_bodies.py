"""Bodies: counted as they come, and not waited for for ever."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import ClientDisconnect, Request

from server.api import bodies
from server.api.bodies import chunks, read_body
from server.api.errors import Refused

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


def request(*messages, **headers):
    """A request whose body comes in *messages*; what is not bytes is waited for."""
    queue = list(messages)

    async def receive():
        message = queue.pop(0)
        if isinstance(message, bytes):
            return {"type": "http.request", "body": message, "more_body": bool(queue)}
        if message is None:
            return {"type": "http.disconnect"}
        await asyncio.sleep(message)
        return {"type": "http.request", "body": b"", "more_body": bool(queue)}

    raw = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


async def refusal(body):
    with pytest.raises(Refused) as refused:
        await body
    return refused.value.status


async def test_a_body_is_put_together():
    """It comes in as many pieces as the network likes."""
    assert b"abc" == await read_body(request(b"a", b"", b"bc"), 3, 60)
    assert b"" == await read_body(request(b""), 3, 60)


async def test_a_declared_length_is_believed_when_it_is_too_much():
    """It is read on, or the client would see a broken connection instead of the answer."""
    body = [b"ab", b"cd"]
    whole = request(*body, content_length="4")

    assert 413 == await refusal(read_body(whole, 3, 60))


async def test_a_declared_length_is_not_believed_when_it_is_little():
    """What counts are the bytes."""
    assert 413 == await refusal(read_body(request(b"ab", b"cd", content_length="1"), 3, 60))


async def test_an_endless_body_is_not_read_for_ever(monkeypatch):
    """Reading on is a courtesy with an end: in bytes and in time."""
    monkeypatch.setattr(bodies, "DRAINED", 10)
    reads = []

    async def receive():
        reads.append(1)
        return {"type": "http.request", "body": b"xxxx", "more_body": True}

    endless = Request({"type": "http", "method": "POST", "headers": []}, receive)

    assert 413 == await refusal(read_body(endless, 3, 60))
    assert 4 == len(reads)
    assert 413 == await refusal(read_body(request(b"xxxx", 60), 3, 0.05))


async def test_a_body_without_a_length_is_cut_at_the_limit():
    """A chunked body of 600 MB took 1.4 GB of memory without this."""
    seen = []
    with pytest.raises(Refused):
        async for chunk in chunks(request(*[b"x"] * 100), 3, 60):
            seen.append(chunk)  # noqa: PERF401 - a comprehension would be lost in the raise

    assert [b"x"] * 3 == seen


async def test_a_body_that_stops_is_given_up():
    """Half an upload and a closed laptop."""
    assert 408 == await refusal(read_body(request(b"a", 60), 10, 0.05))


async def test_a_body_that_crawls_is_given_up(monkeypatch):
    """A byte now and then keeps every single wait short."""
    monkeypatch.setattr(bodies, "SLOWEST", 1000)
    crawling = [b"a" if n % 2 else 0.04 for n in range(100)]

    assert 408 == await refusal(read_body(request(*crawling), 1000, 0.2))


async def test_a_client_that_leaves_is_not_an_error_of_ours():
    """There is nobody to answer."""
    with pytest.raises(ClientDisconnect):
        await read_body(request(b"a", None), 10, 60)
