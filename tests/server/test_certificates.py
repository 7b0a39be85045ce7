"""The local authority: strict TLS clients must accept what it signs."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from server import certificates
from server.certificates import find_certificates, make_certificates


def shake_hands(served, host):
    """Connect to a TLS server that has *served*, as a client that trusts only its authority."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(served.certificate, served.key)
    client = ssl.create_default_context(cafile=served.authority)
    # What Python 3.13 does by default: it refuses authorities without the right extensions.
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    ours, theirs = socket.socketpair()

    def serve():
        with server.wrap_socket(theirs, server_side=True) as end:
            end.sendall(b"hello")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=host) as end:
            return end.recv(5)
    finally:
        thread.join()


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "::1", "queue.localhost", "box.lan", "queue.box.lan"]
)
def test_a_strict_client_accepts_every_name(tmp_path, host):
    """Fal's Python client speaks only HTTPS: a missing name costs its user 51 s of retries."""
    made = make_certificates(tmp_path / "tls", ["box.lan", "10.0.0.7"])

    assert b"hello" == shake_hands(made, host)


def test_the_certificate_covers_this_machine_and_what_was_asked(tmp_path):
    """Names come with their `queue.` twin, addresses do not."""
    made = make_certificates(tmp_path, ["Box.LAN", "10.0.0.7"])

    assert {"box.lan", "queue.box.lan", "10.0.0.7", "localhost", "127.0.0.1", "::1"} <= set(
        made.hosts
    )
    assert socket.gethostname().lower() in made.hosts
    assert "queue.10.0.0.7" not in made.hosts


def test_the_authority_is_kept(tmp_path):
    """Clients were told to trust it; a new one would lock them all out."""
    first = make_certificates(tmp_path)
    authority = first.authority.read_bytes()
    second = make_certificates(tmp_path, ["box.lan"])

    assert authority == second.authority.read_bytes()
    assert "box.lan" in second.hosts


def test_a_good_certificate_is_left_alone(tmp_path):
    """Running the command twice changes nothing under a running server."""
    first = make_certificates(tmp_path, ["box.lan"])
    before = first.certificate.read_bytes()

    assert first == make_certificates(tmp_path)
    assert before == first.certificate.read_bytes()


def test_a_certificate_near_its_end_is_renewed(tmp_path, monkeypatch):
    """Two years on, the same command mends it."""
    monkeypatch.setattr(certificates, "SERVER_LIFE", timedelta(days=10))
    first = make_certificates(tmp_path)
    monkeypatch.undo()
    second = make_certificates(tmp_path)

    assert first.expires_at < second.expires_at
    assert datetime.now(UTC) + timedelta(days=800) < second.expires_at


def test_private_keys_are_their_owners(tmp_path):
    """The authority's key could sign for any site its users visit."""
    made = make_certificates(tmp_path / "tls")

    assert [0o600, 0o600] == [
        stat.S_IMODE(path.stat().st_mode) for path in (made.key, tmp_path / "tls" / "ca.key")
    ]


def test_the_authority_may_sign_nothing_but_servers(tmp_path):
    """A path length of 0: no authority can be hung below it."""
    made = make_certificates(tmp_path)
    authority = x509.load_pem_x509_certificate(made.authority.read_bytes())
    constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints)

    assert x509.BasicConstraints(ca=True, path_length=0) == constraints.value
    assert constraints.critical


def test_nothing_is_found_where_nothing_was_made(tmp_path):
    """The server starts without HTTPS then."""
    assert find_certificates(tmp_path) is None


def test_what_was_made_is_found_again(tmp_path):
    """The server finds what the command line made."""
    assert make_certificates(tmp_path, ["box.lan"]) == find_certificates(tmp_path)


@pytest.mark.parametrize("host", ["", "box lan", "-", "a..b", "https://box", "box:8943", "*"])
def test_a_host_that_is_none_is_refused(tmp_path, host):
    """A pasted URL is the likeliest mistake."""
    with pytest.raises(ValueError, match="not a host name"):
        make_certificates(tmp_path, [host])
