"""The address guard: what may be connected to, whatever the URL looks like."""

from __future__ import annotations

import socket
import threading

import httpcore
import pytest

from server.media.addresses import AddressPolicy, AddressRefused, GuardedBackend, resolve_name

STRICT = AddressPolicy(loopback=False, private=False)
STUDIO = AddressPolicy(loopback=False)

SPELLINGS_OF_THIS_MACHINE = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0x0.0x0.0x1",
    "017700000001",
    "0",
    "localhost",
    "::1",
    "::ffff:127.0.0.1",
    "0.0.0.0",
]


@pytest.fixture
def listener():
    """A port on this machine, and the count of connections that reached it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        reached = []

        def accept():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                reached.append(connection)
                connection.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1], reached
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("host", SPELLINGS_OF_THIS_MACHINE)
def test_this_machine_is_refused_however_it_is_spelled(host, listener):
    """A filter on the text of a URL lets half of these through; the connection does not."""
    port, reached = listener

    with pytest.raises(httpcore.ConnectError):
        GuardedBackend(STUDIO).connect_tcp(host, port, timeout=2)

    assert [] == reached


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",  # cloud metadata
        "fd00:ec2::254",
        "100.100.100.200",
        "192.0.0.192",  # Oracle's cloud metadata
        "64:ff9b:1::a9fe:a9fe",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::",
        "224.0.0.1",
        "fe80::1%eth0",
    ],
)
def test_metadata_and_multicast_are_never_allowed(address):
    """Not even a policy that trusts everything else reaches a cloud's credentials."""
    everything = AddressPolicy(loopback=True)

    assert not everything.allows(address)


@pytest.mark.parametrize(
    ("address", "strict", "studio"),
    [
        ("10.20.0.7", False, True),
        ("192.168.1.2", False, True),
        ("fd12:3456::1", False, True),
        ("93.184.216.34", True, True),
        ("2606:2800:220:1::1", True, True),
        ("127.0.0.1", False, False),
    ],
)
def test_the_local_network_is_a_policy(address, strict, studio):
    """A studio's pipeline lives on private addresses; a hosted server must not reach them."""
    assert strict == STRICT.allows(address)
    assert studio == STUDIO.allows(address)


def test_a_name_that_points_half_inside_is_refused(listener):
    """One answer of many is enough: which of them a later look-up gives is not ours to guess."""
    port, reached = listener
    backend = GuardedBackend(STUDIO, resolve=lambda _host, _port: ["93.184.216.34", "127.0.0.1"])

    with pytest.raises(AddressRefused):
        backend.connect_tcp("two-faced.example", port, timeout=2)

    assert [] == reached


def test_the_address_that_was_checked_is_the_one_connected_to(listener):
    """A name is looked up once: a second look-up could answer with another address."""
    port, _ = listener
    answers = [["127.0.0.1"], ["169.254.169.254"]]
    backend = GuardedBackend(
        AddressPolicy(loopback=True), resolve=lambda _host, _port: answers.pop(0)
    )

    backend.connect_tcp("rebinding.example", port, timeout=2).close()

    assert [["169.254.169.254"]] == answers


@pytest.mark.parametrize("host", [".", "..", "a..b", "\udcff", "x" * 300])
def test_a_name_that_is_none_is_a_refused_connection(host):
    """The IDNA codec raises UnicodeError on these; a client's mistake must not become a crash."""
    with pytest.raises(httpcore.ConnectError):
        resolve_name(host, 80)
