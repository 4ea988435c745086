"""Signed tokens: what a node may do for a job, until when."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from qmesh.reservation.v1 import reservation_pb2 as pb

_DOMAIN = b"qmesh-token-v1\0"


class TokenSigner:
    """Signs claims; all replicas share the key."""

    def __init__(self, pem: str) -> None:
        """Takes an Ed25519 private key in PEM.

        Raises:
            ValueError: it is something else.
        """
        key = load_pem_private_key(pem.encode(), None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("the signing key is not an Ed25519 key")  # noqa: TRY004 - it is the value that is wrong
        self._key = key
        self.public_key = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._key_id = hashlib.sha256(self.public_key).digest()[:8]

    def sign(self, claims: pb.TokenClaims) -> bytes:
        """A serialised token."""
        claims.key_id = self._key_id
        body = claims.SerializeToString(deterministic=True)
        return pb.Token(claims=body, signature=self._key.sign(_DOMAIN + body)).SerializeToString()


def fingerprint(token: bytes) -> str:
    """First eight bytes of the token's SHA-256, hexadecimal."""
    return hashlib.sha256(token).hexdigest()[:16] if token else ""
