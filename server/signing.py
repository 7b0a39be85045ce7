"""The key that signs webhooks, and the document that lets a receiver check it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.disk import write_private


class WebhookSigner:
    """An Ed25519 key in a file of its own, made on first use.

    Args:
        path: The private key, PEM, readable by its owner only.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            _write_key(path)
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            msg = f"{path} holds no Ed25519 key"
            raise ValueError(msg)  # noqa: TRY004 - the file is wrong, not the caller's type
        self._key = key

    def headers(self, *, request_id: str, user_id: str, now: int, body: bytes) -> dict[str, str]:
        """Return the four headers that fal's documented verifiers look at.

        Signed are the three values and the SHA-256 of *body* in hexadecimal, a newline between
        each (fal's documentation, "Webhooks").

        Args:
            request_id: Id of the request that has ended.
            user_id: A stable name for whoever submitted it.
            now: Unix seconds; verifiers refuse a signature more than 300 s away from their clock.
            body: The bytes that are sent.
        """
        digest = hashlib.sha256(body).hexdigest()
        message = "\n".join((request_id, user_id, str(now), digest))
        return {
            "X-Fal-Webhook-Request-Id": request_id,
            "X-Fal-Webhook-User-Id": user_id,
            "X-Fal-Webhook-Timestamp": str(now),
            "X-Fal-Webhook-Signature": self._key.sign(message.encode()).hex(),
        }

    def jwks(self) -> dict[str, Any]:
        """Return the public key as a JSON Web Key Set."""
        public = self._key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
        # Padded, against RFC 7517: fal's documented Python verifier decodes without adding any.
        x = base64.urlsafe_b64encode(public).decode()
        return {"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "x": x}]}


def _write_key(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, pem)
