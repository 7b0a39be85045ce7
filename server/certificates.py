"""A certificate authority of this machine's own, and the server certificate it signs.

fal's Python client speaks HTTPS only. It trusts us once `SSL_CERT_FILE` names the authority's
certificate (Node: `NODE_EXTRA_CA_CERTS`), which is made once and kept.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from server.disk import write_private

AUTHORITY_LIFE = timedelta(days=3650)
# Apple's TLS stack refuses server certificates that are valid for longer than 825 days.
SERVER_LIFE = timedelta(days=820)
RENEW_BEFORE = timedelta(days=30)
CLOCK_SKEW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where the PEM files are."""

    authority: Path
    """What clients are told to trust."""
    certificate: Path
    """The server's certificate, followed by the authority's."""
    key: Path
    """The server's private key."""
    hosts: tuple[str, ...]
    """Names and addresses the certificate is good for."""
    expires_at: datetime


def make_certificates(folder: Path, hosts: Iterable[str] = ()) -> Certificates:
    """Make a server certificate for this machine and *hosts*, and the authority if there is none.

    The authority is kept, so that clients that trust it need no change; a server certificate that
    already covers *hosts* is kept too until a month before it expires.

    Args:
        folder: Where the files go; made if it is missing.
        hosts: Names and IP addresses besides localhost and this machine's own name. Each name gets
            `queue.<name>` as well: old Python clients put the queue there.

    Raises:
        ValueError: If one of *hosts* is neither a name nor an address.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = _names([*hosts, "localhost", "127.0.0.1", "::1", socket.gethostname()])
    found = find_certificates(folder)
    if found and set(names) <= set(found.hosts) and _fresh(found.expires_at):
        return found
    authority, authority_key = _authority(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _server_certificate(key, names, authority, authority_key)
    write_private(folder / "server.key", _pem(key))
    chain = _public_pem(certificate) + _public_pem(authority)
    write_private(folder / "server.pem", chain)
    return Certificates(
        folder / "ca.pem",
        folder / "server.pem",
        folder / "server.key",
        tuple(names),
        certificate.not_valid_after_utc,
    )


def find_certificates(folder: Path) -> Certificates | None:
    """Return the certificates in *folder*, or None if none were made there."""
    authority, pem, key = (folder / name for name in ("ca.pem", "server.pem", "server.key"))
    if not (authority.exists() and pem.exists() and key.exists()):
        return None
    certificate = x509.load_pem_x509_certificate(pem.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    hosts = tuple(str(name.value) for name in names)
    return Certificates(authority, pem, key, hosts, certificate.not_valid_after_utc)


def _names(hosts: Iterable[str]) -> list[str]:
    names: list[str] = []
    for host in hosts:
        try:
            names.append(str(ipaddress.ip_address(host)))
        except ValueError:
            name = host.lower().rstrip(".")
            if not name or not all(_is_label(label) for label in name.split(".")):
                msg = f"not a host name or IP address: {host!r}"
                raise ValueError(msg) from None
            names += [name, f"queue.{name}"]
    return list(dict.fromkeys(names))


def _is_label(label: str) -> bool:
    return 0 < len(label) <= 63 and label.isascii() and label.replace("-", "").isalnum()


def _fresh(expires_at: datetime) -> bool:
    return expires_at - datetime.now(UTC) > RENEW_BEFORE


def _authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    pem, key_pem = folder / "ca.pem", folder / "ca.key"
    if pem.exists() and key_pem.exists():
        certificate = x509.load_pem_x509_certificate(pem.read_bytes())
        kept = serialization.load_pem_private_key(key_pem.read_bytes(), None)
        if isinstance(kept, ec.EllipticCurvePrivateKey) and _fresh(certificate.not_valid_after_utc):
            return certificate, kept
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _authority_certificate(key)
    write_private(key_pem, _pem(key))
    write_private(pem, _public_pem(certificate))
    return certificate, key


def _authority_certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    # The machine's name in the subject tells one machine's authority from another's in a trust
    # store; a random serial tells two of the same machine apart.
    name = _name(f"wan-local authority of {socket.gethostname()}"[:64])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _server_certificate(
    key: ec.EllipticCurvePrivateKey,
    names: list[str],
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    now = datetime.now(UTC)
    life = min(now + SERVER_LIFE, authority.not_valid_after_utc)
    issued_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage(signs_certificates=False), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectAlternativeName([_general_name(name) for name in names]), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        # Python 3.13 verifies strictly, and then an authority key identifier is required.
        (issued_by, False),
    ]
    builder = (
        x509.CertificateBuilder(authority.subject, _name("wan-local"), key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(life)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(authority_key, hashes.SHA256())


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _public_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
