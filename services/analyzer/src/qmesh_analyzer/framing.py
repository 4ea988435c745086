"""Frames between front and worker: a count, then each frame after its length, all as 8 bytes little-endian."""

from collections.abc import Sequence

WORD = 8
ANALYZE, FACTOR = b"A", b"F"
"""Kinds of requests: the first frame."""


def word(value: int) -> bytes:
    """A number as it goes over the socket."""
    return value.to_bytes(WORD, "little")


def number(data: bytes) -> int:
    """The number that `word` wrote."""
    return int.from_bytes(data, "little")


def frames(parts: Sequence[bytes]) -> list[bytes]:
    """Pieces to write, in order, for some frames."""
    pieces = [word(len(parts))]
    for part in parts:
        pieces += [word(len(part)), part]
    return pieces
