"""One- and two-qubit expectations of stabilizer states, for some signs of their generators at once.

<Z_i> is not 0 iff no stabilizer has X on i, and <Z_i Z_j> iff the X columns of i and j are equal; then Z_i Z_j = (Z_i Z_r)(Z_r Z_j) for any
qubit r of the same column, so that n products give all pairs. The same for X, with the Z columns, and for Y, with their sum.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.bool_]
Signs = NDArray[np.float64]
SignOf = Callable[[str, Sequence[int]], tuple[Signs, int]]
"""Eigenvalue (+1 or -1) of one letter on one or two qubits, for each weighted row: shape (R,); only asked where it is fixed.

With it the random outcomes that the sign depends on beside: it averages to 0 unless they cancel.
"""


@dataclass(frozen=True, slots=True)
class Columns:
    """Letters of the stabilizers, shape (n, n): generator by qubit."""

    x: Bits
    z: Bits

    def of(self, letter: str) -> Bits:
        """Where a stabilizer does not commute with a letter."""
        return {"Z": self.x, "X": self.z, "Y": self.x ^ self.z}[letter]

    def groups(self, letter: str) -> tuple[list[int], list[list[int]]]:
        """Qubits on which a letter is fixed, and groups of others whose pairs are."""
        found: dict[bytes, list[int]] = defaultdict(list)
        column = np.packbits(self.of(letter), axis=0)
        for qubit in range(self.x.shape[1]):
            found[column[:, qubit].tobytes()].append(qubit)
        fixed = found.pop(bytes(len(column)), [])
        return fixed, [group for group in found.values() if len(group) > 1]


def singles(columns: Columns, sign: SignOf, weights: Signs) -> NDArray[np.float64]:
    """Bloch vectors: shape (n, 3)."""
    made = np.zeros((columns.x.shape[1], 3))
    for place, letter in enumerate("XYZ"):
        for qubit in columns.groups(letter)[0]:
            values, symbols = sign(letter, [qubit])
            made[qubit, place] = 0.0 if symbols else float(values @ weights)
    return made


def pairs(columns: Columns, letter: str, sign: SignOf, weights: Signs) -> NDArray[np.float64]:
    """<P_i P_j> for every pair: shape (n, n)."""
    n = columns.x.shape[1]
    made = np.zeros((n, n))
    fixed, groups = columns.groups(letter)
    for group in [fixed, *groups]:
        if not group:
            continue
        single = group is fixed
        rows = [
            sign(letter, [q] if single else [group[0], q])
            if single or q != group[0]
            else (np.ones(len(weights)), 0)
            for q in group
        ]
        values = np.stack([signs for signs, _ in rows])
        symbols = np.array([mask for _, mask in rows], dtype=object)
        alike = symbols[:, None] == symbols[None, :]
        made[np.ix_(group, group)] = np.where(alike, (values * weights) @ values.T, 0.0)
    return made
