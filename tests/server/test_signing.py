"""Webhook signatures, checked the way fal's documentation tells receivers to."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from server.signing import WebhookSigner


def verify(headers, body, jwks):
    """The documented check: message of four lines, every key tried, x decoded without padding."""
    message = "\n".join(
        [
            headers["X-Fal-Webhook-Request-Id"],
            headers["X-Fal-Webhook-User-Id"],
            headers["X-Fal-Webhook-Timestamp"],
            hashlib.sha256(body).hexdigest(),
        ]
    ).encode()
    for key in jwks["keys"]:
        public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(key["x"]))
        public.verify(bytes.fromhex(headers["X-Fal-Webhook-Signature"]), message)


def test_a_receiver_can_verify_us(tmp_path):
    """The only change a receiver makes is the URL of the key set."""
    signer = WebhookSigner(tmp_path / "key.pem")
    headers = signer.headers(request_id="r", user_id="u", now=1_700_000_000, body=b"{}")

    verify(headers, b"{}", signer.jwks())
    with pytest.raises(InvalidSignature):
        verify(headers, b'{"status":"forged"}', signer.jwks())


def test_the_key_outlives_the_process_and_is_private(tmp_path):
    """Receivers cache the key set for a day; a restart must not invalidate it."""
    first = WebhookSigner(tmp_path / "keys" / "key.pem").jwks()

    assert first == WebhookSigner(tmp_path / "keys" / "key.pem").jwks()
    assert 0o600 == (tmp_path / "keys" / "key.pem").stat().st_mode & 0o777


def test_a_file_that_is_no_key_is_refused(tmp_path):
    """A webhook signed with nothing in particular would be worse than a server that stops."""
    from_elsewhere = tmp_path / "key.pem"
    from_elsewhere.write_bytes(b"-----BEGIN NOTHING-----\n")

    with pytest.raises(ValueError):
        WebhookSigner(from_elsewhere)
