"""Stabilizer states whose signs may depend on outcomes that nobody fixed: the ideal of Clifford circuits of any width.

Generators are rows of letters: `x[2n, n]`, `z[2n, n]`, destabilizers first. The sign of a stabilizer is a constant plus, modulo 2, some of
the random outcomes ("symbols"), as bits of an integer. Written apart from the nodes' tableau, so that a mistake there shows.
References: Aaronson, Gottesman, PRA 70 (2004) 052328; Gidney, Quantum 5 (2021) 497 (symbolic signs).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from qmesh_analyzer.domain.kernels import Matrix

Bits = NDArray[np.bool_]
_WIDEST = 2
_EXACT = 1e-12


@dataclass(frozen=True, slots=True)
class Affine:
    """A bit that is a constant plus random outcomes, modulo 2."""

    constant: bool = False
    symbols: int = 0

    def __xor__(self, other: Affine) -> Affine:
        return Affine(self.constant ^ other.constant, self.symbols ^ other.symbols)


@lru_cache(maxsize=4096)
def _images(matrix: bytes, size: int) -> tuple[NDArray[np.int64], Bits] | None:
    """Image and sign of each Pauli string, numbered x + (z << k), by Hilbert-Schmidt products; None: not Clifford."""
    unitary = np.frombuffer(matrix, dtype=np.complex128).reshape(size, size)
    index, k = np.arange(size), size.bit_length() - 1
    strings = np.zeros((size * size, size, size), dtype=np.complex128)
    for number in range(size * size):
        x, z = number & size - 1, number >> k
        strings[number, index ^ x, index] = 1j ** (x & z).bit_count() * (
            1.0 - 2.0 * (np.bitwise_count(index & z) & 1)
        )
    images = unitary @ strings @ unitary.conj().T
    products = np.einsum("aij,bij->ab", images, strings.conj()).real / size
    found = np.abs(products).argmax(axis=1)
    values = products[np.arange(size * size), found]
    if np.any(np.abs(np.abs(values) - 1) > _EXACT):
        return None
    return found, values < 0


def is_clifford(matrix: Matrix) -> bool:
    """Whether a gate of one or two qubits maps Pauli strings to Pauli strings."""
    return len(matrix) <= 1 << _WIDEST and _images(matrix.tobytes(), len(matrix)) is not None


class Stabilizer:
    """One state of n qubits."""

    def __init__(self, n: int) -> None:
        """All qubits in |0>."""
        self.n = n
        self.x: Bits = np.zeros((2 * n, n), dtype=np.bool_)
        self.z: Bits = np.zeros((2 * n, n), dtype=np.bool_)
        self.x[np.arange(n), np.arange(n)] = True
        self.z[n + np.arange(n), np.arange(n)] = True
        self.minus: Bits = np.zeros(n, dtype=np.bool_)
        self.symbols = np.zeros(n, dtype=object)
        self.drawn = 0

    def copy(self) -> Stabilizer:
        """A state of its own."""
        made = Stabilizer.__new__(Stabilizer)
        made.n, made.drawn = self.n, self.drawn
        made.x, made.z = self.x.copy(), self.z.copy()
        made.minus, made.symbols = self.minus.copy(), self.symbols.copy()
        return made

    def apply(self, matrix: Matrix, qubits: Sequence[int]) -> None:
        """A Clifford gate; its first operand is the least significant bit of the matrix index."""
        table = _images(matrix.tobytes(), len(matrix))
        if table is None:
            raise ValueError("not a Clifford gate")
        columns, k = list(qubits), len(qubits)
        weights = 1 << np.arange(k)
        letters = self.x[:, columns] @ weights + (self.z[:, columns] @ weights << k)
        images, signs = table
        self.minus ^= signs[letters[self.n :]]
        made = images[letters]
        self.x[:, columns] = made[:, None] >> np.arange(k) & 1
        self.z[:, columns] = made[:, None] >> (k + np.arange(k)) & 1

    def flip(self, x: Bits, z: Bits, when: Affine) -> None:
        """A Pauli string, if a bit is set."""
        crossed = self._crossed(x, z)[self.n :]
        if when.constant:
            self.minus ^= crossed
        if when.symbols:
            self.symbols[crossed] ^= when.symbols

    def _crossed(self, x: Bits, z: Bits) -> Bits:
        """Generators that a Pauli string does not commute with."""
        made: Bits = np.zeros(2 * self.n, dtype=np.bool_)
        for qubit in np.flatnonzero(x | z):
            if z[qubit]:
                made ^= self.x[:, qubit]
            if x[qubit]:
                made ^= self.z[:, qubit]
        return made

    def sign(self, x: Bits, z: Bits) -> Affine | None:
        """The bit of a Pauli string's eigenvalue (set: -1); None when it is as likely + as -."""
        crossed = self._crossed(x, z)
        if crossed[self.n :].any():
            return None
        chosen = np.flatnonzero(crossed[: self.n])
        rows_x, rows_z = self.x[self.n + chosen], self.z[self.n + chosen]
        before = np.logical_xor.accumulate(rows_z, axis=0) ^ rows_z
        quarter = int((rows_x & rows_z).sum()) + 2 * int((before & rows_x).sum()) - int((x & z).sum())
        constant = bool((quarter // 2 + int(self.minus[chosen].sum())) % 2)
        return Affine(constant, int(np.bitwise_xor.reduce(self.symbols[chosen], initial=0)))

    def measure(self, x: Bits, z: Bits) -> Affine:
        """Measures a Pauli string; the bit of the eigenvalue, which may be a new random outcome."""
        known = self.sign(x, z)
        if known is not None:
            return known
        crossed, n = self._crossed(x, z), self.n
        pivot = n + int(np.flatnonzero(crossed[n:])[0])
        crossed[[pivot, pivot - n]] = False
        rows = np.flatnonzero(crossed)
        px, pz = self.x[pivot].copy(), self.z[pivot].copy()
        own = rows[rows >= n]
        quarter = (self.x[own] & self.z[own]).sum(axis=1) + int((px & pz).sum())
        quarter += 2 * (self.z[own] & px).sum(axis=1)
        quarter -= ((self.x[own] ^ px) & (self.z[own] ^ pz)).sum(axis=1)
        self.minus[own - n] ^= (quarter // 2 % 2).astype(np.bool_) ^ self.minus[pivot - n]
        self.symbols[own - n] ^= self.symbols[pivot - n]
        self.x[rows] ^= px
        self.z[rows] ^= pz
        self.x[pivot - n], self.z[pivot - n] = px, pz
        self.x[pivot], self.z[pivot] = x, z
        outcome = Affine(constant=False, symbols=1 << self.drawn)
        self.drawn += 1
        self.minus[pivot - n], self.symbols[pivot - n] = False, outcome.symbols
        return outcome

    def one(self, qubit: int, letter: str) -> tuple[Bits, Bits]:
        """Masks of one letter on one qubit."""
        x, z = np.zeros((2, self.n), dtype=np.bool_)
        x[qubit], z[qubit] = letter in "XY", letter in "YZ"
        return x, z

    def expectation(self, x: Bits, z: Bits) -> float:
        """Expectation of a Pauli string, averaged over random outcomes."""
        bit = self.sign(x, z)
        return 0.0 if bit is None or bit.symbols else 1.0 - 2.0 * bit.constant
