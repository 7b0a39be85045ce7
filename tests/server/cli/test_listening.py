import asyncio
import socket
import ssl

import httpx
import pytest

from server.certificates import make_certificates
from server.cli import listening
from server.cli.listening import PortTaken, listen, reserve


async def hello(scope, receive, send):
    """Answer every request with the scheme it came by; `/endless` never ends."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while scope["path"] == "/endless":
        await send({"type": "http.response.body", "body": b"...", "more_body": True})
        await asyncio.sleep(0.05)
    await send({"type": "http.response.body", "body": scope["scheme"].encode()})


async def with_doors(doors, during):
    """Run *during* while the doors are open; return what it returns."""
    opened, until = asyncio.Event(), asyncio.Event()
    serving = asyncio.create_task(listen(hello, doors, until=until, on_open=opened.set))
    await opened.wait()
    try:
        return await during()
    finally:
        until.set()
        await serving


def test_http_and_https_lead_to_the_same_app(tmp_path):
    """Two processes would be two job stores; fal's Python client needs the second door."""
    made = make_certificates(tmp_path)
    trust = ssl.create_default_context(cafile=made.authority)
    pair = made.certificate, made.key
    with reserve("127.0.0.1", 0) as plain, reserve("127.0.0.1", 0, pair) as secure:

        async def both():
            async with httpx.AsyncClient(verify=trust) as client:
                return [
                    (await client.get(f"{scheme}://127.0.0.1:{door.port}/")).text
                    for scheme, door in (("http", plain), ("https", secure))
                ]

        answers = asyncio.run(with_doors([plain, secure], both))

    assert ["http", "https"] == answers


def test_a_port_that_is_listened_on_is_refused():
    """Granian would share the port, and every second request would reach the other program."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match="Address already in use"), reserve("127.0.0.1", port):
            pass


def test_an_address_of_another_machine_is_refused():
    """A typo in --host deserves a sentence."""
    with pytest.raises(PortTaken, match="cannot listen on"), reserve("192.0.2.1", 0):
        pass


def test_a_name_that_does_not_resolve_is_refused():
    """So does a typo in a name."""
    with pytest.raises(PortTaken, match="cannot listen on"), reserve("nowhere.invalid", 0):
        pass


def test_an_endless_stream_does_not_keep_the_doors_open(monkeypatch):
    """A browser tab that watches a job must not keep a server from stopping."""
    monkeypatch.setattr(listening, "CLOSING_PATIENCE", 0.2)
    with reserve("127.0.0.1", 0) as door:

        async def watch():
            reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
            writer.write(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"...")
            return reader, writer

        async def watch_to_the_end():
            reader, writer = await with_doors([door], watch)
            await reader.read()
            writer.close()

        asyncio.run(asyncio.wait_for(watch_to_the_end(), 30))

    with reserve("127.0.0.1", door.port) as again:
        assert door.port == again.port
