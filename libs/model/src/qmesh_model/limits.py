"""Bounds of a circuit's text; each is checked before anything of its size is allocated."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds with the design's defaults."""

    text_bytes: int = 256 << 10
    operations: int = 50_000
    qubits: int = 1_000
    bits: int = 10_000
    nesting: int = 32
    identifier: int = 64
    integer_digits: int = 10
    expression_tokens: int = 256


DEFAULT_LIMITS = Limits()
