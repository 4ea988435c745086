"""Syndrome extraction over a code block: stabilisers measured one after another, decoded, corrected.

Codes: repetition-3 (Z checks), [[4,2,2]] (detects only), Steane [[7,1,3]], rotated surface-3 [[9,1,3]].
References: Steane, Proc. R. Soc. A 452 (1996) 2551; Fowler et al., PRA 86 (2012) 032324.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

# A Pauli over the block: one letter for each operand, 0 I, 1 X, 2 Y, 3 Z.
Pauli = tuple[int, ...]
X, Z = 1, 3


@dataclass(frozen=True, slots=True)
class Code:
    """Stabiliser generators in the order of their syndrome bits."""

    name: str
    stabilizers: tuple[Pauli, ...]
    corrects: bool


def _paulis(letter: int, size: int, supports: tuple[tuple[int, ...], ...]) -> tuple[Pauli, ...]:
    return tuple(tuple(letter if i in support else 0 for i in range(size)) for support in supports)


_HAMMING = ((3, 4, 5, 6), (1, 2, 5, 6), (0, 2, 4, 6))
CODES: dict[int, Code] = {
    1: Code("none", (), corrects=False),
    3: Code("repetition", _paulis(Z, 3, ((0, 1), (1, 2))), corrects=True),
    4: Code("422", _paulis(X, 4, ((0, 1, 2, 3),)) + _paulis(Z, 4, ((0, 1, 2, 3),)), corrects=False),
    7: Code("steane", _paulis(X, 7, _HAMMING) + _paulis(Z, 7, _HAMMING), corrects=True),
    9: Code(
        "surface",
        _paulis(X, 9, ((0, 1, 3, 4), (4, 5, 7, 8), (1, 2), (6, 7)))
        + _paulis(Z, 9, ((1, 2, 4, 5), (3, 4, 6, 7), (0, 3), (5, 8))),
        corrects=True,
    ),
}


def _anticommute(a: Pauli, b: Pauli) -> bool:
    return sum(1 for x, y in zip(a, b, strict=True) if x and y and x != y) % 2 == 1


def syndrome_of(code: Code, error: Pauli) -> int:
    """Syndrome of an error; bit k belongs to stabiliser k."""
    return sum(1 << k for k, s in enumerate(code.stabilizers) if _anticommute(s, error))


@lru_cache(maxsize=8)
def decoder(size: int) -> dict[int, Pauli]:
    """Lightest correction for each syndrome, X and Z parts decoded apart (lookup)."""
    code = CODES[size]
    table: dict[int, Pauli] = {0: (0,) * size}
    if not code.corrects:
        return table
    letters = (X,) if code.name == "repetition" else (X, Z)
    parts: dict[int, dict[int, Pauli]] = {}
    for letter in letters:
        found: dict[int, Pauli] = {0: (0,) * size}
        for weight in range(1, size + 1):
            for support in combinations(range(size), weight):
                error = tuple(letter if i in support else 0 for i in range(size))
                found.setdefault(syndrome_of(code, error), error)
        parts[letter] = found
    for sx, x in parts[X].items():
        for sz, z in parts.get(Z, {0: (0,) * size}).items():
            table[sx | sz] = tuple(_product(a, b) for a, b in zip(x, z, strict=True))
    return table


def _product(a: int, b: int) -> int:
    """Product of two letters up to phase."""
    return a if not b else b if not a else 0 if a == b else 6 - a - b
