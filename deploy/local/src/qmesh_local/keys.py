"""Identities and secrets of a local mesh: made once, kept for its owner only."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from qmesh_fabric.identity import Identity, load_or_create


def secret(path: Path, size: int = 32) -> str:
    """A random secret in hexadecimal, made if it is not there."""
    if not path.exists():
        _write(path, secrets.token_hex(size).encode())
    return path.read_text().strip()


def identity(path: Path) -> Identity:
    """A libp2p identity, made if it is not there."""
    return load_or_create(path)


def token_key(private: Path, public: Path) -> None:
    """The Ed25519 pair that signs reservation tokens: PEM for reservation, raw hexadecimal lines for nodes."""
    if not private.exists():
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write(private, pem)
    loaded = serialization.load_pem_private_key(private.read_bytes(), None)
    if not isinstance(loaded, Ed25519PrivateKey):
        raise TypeError(f"{private} is not an Ed25519 key")
    raw = loaded.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    _write(public, raw.hex().encode() + b"\n")


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(path.suffix + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
