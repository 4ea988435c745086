"""Codes of `syndrome_extraction`, derived from their textbook definitions instead of shared with the nodes.

An independent derivation is the point: a node with a wrong check or correction must show as infidelity.
Bit k of a syndrome belongs to check k; X checks come before Z checks. The correction is the lightest X error
times the lightest Z error that explain the syndrome, ties by the lexicographic order of their supports.

References: Vaidman, Goldenberg, Wiesner, PRA 54 (1996) R1745 ([[4,2,2]]); Steane, Proc. R. Soc. A 452 (1996) 2551;
Horsman et al., New J. Phys. 14 (2012) 123011 (rotated surface code).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Code:
    """A CSS code over `size` operands; checks are masks of operands."""

    size: int
    x_checks: tuple[int, ...]
    z_checks: tuple[int, ...]
    corrects: bool = True

    @property
    def checks(self) -> list[tuple[int, int]]:
        """(X mask, Z mask) of every check in the order of the syndrome's bits."""
        return [(mask, 0) for mask in self.x_checks] + [(0, mask) for mask in self.z_checks]


def _repetition() -> Code:
    return Code(3, (), (0b011, 0b110))


def _steane() -> Code:
    # qubit j is column j + 1 of the Hamming matrix; its first row is the most significant bit of the column
    rows = tuple(sum(1 << j for j in range(7) if j + 1 >> place & 1) for place in (2, 1, 0))
    return Code(7, rows, rows)


def _rotated_surface(distance: int = 3) -> Code:
    """Qubits row by row; a face is of type X where its corner has an even sum, with two-qubit faces on the border.

    X faces close at the upper and lower borders, Z faces at the left and right ones; each type is listed with
    its four-qubit faces first.
    """
    faces: dict[bool, list[int]] = {True: [], False: []}
    inner: dict[bool, list[int]] = {True: [], False: []}
    for row in range(-1, distance):
        for column in range(-1, distance):
            is_x = (row + column) % 2 == 0
            corners = [
                r * distance + c
                for r in (row, row + 1)
                for c in (column, column + 1)
                if 0 <= r < distance and 0 <= c < distance
            ]
            mask = sum(1 << corner for corner in corners)
            if len(corners) == 4:  # noqa: PLR2004 - a face has four corners
                inner[is_x].append(mask)
            elif len(corners) == 2 and is_x == (row in {-1, distance - 1}):  # noqa: PLR2004 - half a face
                faces[is_x].append(mask)
    return Code(distance**2, tuple(inner[True] + faces[True]), tuple(inner[False] + faces[False]))


CODES = {
    code.size: code
    for code in (_repetition(), Code(4, (0b1111,), (0b1111,), corrects=False), _steane(), _rotated_surface())
}
"""Codes by number of operands."""


@lru_cache(maxsize=8)
def corrections(size: int) -> NDArray[np.int64]:
    """X mask and Z mask of the correction of every syndrome: shape (2^checks, 2)."""
    code = CODES[size]
    table = np.zeros((1 << len(code.checks), 2), dtype=np.int64)
    if not code.corrects:
        return table
    shift = len(code.x_checks)
    flips = _lightest(code.z_checks, size)  # X errors are seen by Z checks
    phases = _lightest(code.x_checks, size)
    for syndrome in range(len(table)):
        table[syndrome] = flips[syndrome >> shift], phases[syndrome & (1 << shift) - 1]
    return table


def _lightest(checks: tuple[int, ...], size: int) -> dict[int, int]:
    found: dict[int, int] = {}
    for weight in range(size + 1):
        for support in combinations(range(size), weight):
            error = sum(1 << place for place in support)
            seen = sum(((error & check).bit_count() & 1) << k for k, check in enumerate(checks))
            found.setdefault(seen, error)
    return found
