"""Peer identities: Ed25519 keys and the peer ids that name them, without importing libp2p.

A peer id is the base58 form of the identity multihash of the protobuf-encoded public key.
Reference: libp2p specification, "Peer Ids and Keys".
"""

from __future__ import annotations

import os
import secrets
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
# identity multihash (0x00) of 36 bytes: key type Ed25519 (08 01), 32 bytes of key (12 20 ...)
_PREFIX = bytes.fromhex("002408011220")
_SEED = 32
_LONGEST = 64  # an id of an Ed25519 key has 52 characters


def _base58(data: bytes) -> str:
    value = int.from_bytes(data)
    text = ""
    while value:
        value, digit = divmod(value, 58)
        text = _ALPHABET[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def _from_base58(text: str) -> bytes:
    value = 0
    for character in text:
        value = value * 58 + _ALPHABET.index(character)
    body = value.to_bytes((value.bit_length() + 7) // 8)
    return b"\0" * (len(text) - len(text.lstrip("1"))) + body


class Identity:
    """One key pair.

    Args:
        seed: 32 bytes.
    """

    def __init__(self, seed: bytes) -> None:
        """Derives the key pair.

        Raises:
            ValueError: the seed has another length.
        """
        if len(seed) != _SEED:
            raise ValueError(f"a seed has {_SEED} bytes, not {len(seed)}")
        self.seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.peer_id = _base58(_PREFIX + self.public_key)

    def sign(self, payload: bytes) -> bytes:
        """Ed25519 signature, 64 bytes."""
        return self._key.sign(payload)


@lru_cache(maxsize=4096)
def _key_of(peer_id: str) -> Ed25519PublicKey | None:
    if len(peer_id) > _LONGEST:
        return None  # decoding takes the square of the length
    try:
        raw = _from_base58(peer_id)
    except ValueError:
        return None
    if len(raw) != len(_PREFIX) + _SEED or not raw.startswith(_PREFIX):
        return None
    return Ed25519PublicKey.from_public_bytes(raw[len(_PREFIX) :])


def is_peer_id(text: str) -> bool:
    """Whether a text is the peer id of an Ed25519 key."""
    return _key_of(text) is not None


def verify(peer_id: str, payload: bytes, signature: bytes) -> bool:
    """Whether a peer signed a payload."""
    key = _key_of(peer_id)
    if key is None:
        return False
    try:
        key.verify(signature, payload)
    except InvalidSignature:
        return False
    return True


def load_or_create(path: Path) -> Identity:
    """The identity in a file (64 hexadecimal digits, for its owner only); made when there is none.

    Raises:
        ValueError: the file holds something else.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(path.suffix + ".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(_SEED) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    try:
        return Identity(bytes.fromhex(path.read_text().strip()))
    except ValueError:
        raise ValueError(f"{path.name} is no identity: 64 hexadecimal digits are expected") from None
