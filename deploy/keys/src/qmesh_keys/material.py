"""What is made: identities, the signing key of reservation tokens, random tokens; and what of them is public."""

from __future__ import annotations

import secrets

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from qmesh_fabric.identity import Identity

_TOKEN = 32


def token() -> bytes:
    """A random token, URL-safe."""
    return secrets.token_urlsafe(_TOKEN).encode()


def identity() -> bytes:
    """A new peer identity: 64 hexadecimal digits, as services read them."""
    return secrets.token_hex(32).encode() + b"\n"


def peer_id(stored: bytes) -> str:
    """The peer id of a stored identity.

    Raises:
        ValueError: it is no identity.
    """
    return Identity(bytes.fromhex(stored.decode().strip())).peer_id


def signing_key() -> bytes:
    """A new Ed25519 key as PEM."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_line(pem: bytes) -> str:
    """The raw public key of a signing key in hexadecimal, as nodes read it.

    Raises:
        ValueError: it is no Ed25519 key.
    """
    key = load_pem_private_key(pem, None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("the signing key is not an Ed25519 key")  # noqa: TRY004 - the content is wrong, not its type
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
