"""Fields of the quantum result from ideal or executed states; fast kernels, checked against Qiskit in the tests.

A mixture is normalised `states[B, 2^n]` with `weights[B]`. Z and ZZ are signed sums of the basis probabilities, XX the same after H
on every qubit, which is a Walsh-Hadamard transform.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh_analyzer.domain import kernels
from qmesh_analyzer.domain.errors import AnalysisError
from qmesh_analyzer.domain.kernels import Matrix, Reals, States

TOP = 16
_PIECE = 1 << 20  # amplitudes that are worked on at once, so that temporaries stay small
_BLOCK = 256
_SMALL = 1 << 12


@dataclass(frozen=True, slots=True)
class Mixture:
    """States with their probabilities."""

    states: States
    weights: Reals

    @property
    def num_qubits(self) -> int:
        """Number of qubits."""
        return kernels.width(self.states)

    def pieces(self) -> Iterator[States]:
        """Rows scaled by the roots of their weights, some at a time, as copies."""
        step = max(1, _PIECE // self.states.shape[1])
        for begin in range(0, len(self.weights), step):
            scale = np.sqrt(self.weights[begin : begin + step])
            yield self.states[begin : begin + step] * scale[:, None]

    def probabilities(self) -> Reals:
        """P over the computational basis: shape (2^n,)."""
        total = np.zeros(self.states.shape[1])
        for piece in self.pieces():
            total += _squares(piece)
        return total


def _squares(states: States) -> Reals:
    total: Reals = (states.real**2 + states.imag**2).sum(axis=0)
    return total


def density_matrices(mixture: Mixture) -> Matrix:
    """Reduced density matrix of every qubit: shape (n, 2, 2)."""
    n = mixture.num_qubits
    half = n // 2
    rho = np.zeros((n, 2, 2), dtype=np.complex128)
    for piece in mixture.pieces():
        # the qubits of the lower half are looked at with the halves exchanged, so that neighbours in memory stay together
        moved = piece.reshape(-1, 1 << (n - half), 1 << half).transpose(0, 2, 1)
        for states, qubits, shift in (
            (piece, range(half, n), 0),
            (np.ascontiguousarray(moved).reshape(piece.shape), range(half), n - half),
        ):
            turned = states * -1j
            for q in qubits:
                low, high = _halves(states, q + shift)
                rho[q, 0, 0] += _product(low, low)
                rho[q, 1, 1] += _product(high, high)
                rho[q, 0, 1] += _product(high, low) + 1j * _product(high, _halves(turned, q + shift)[0])
    rho[:, 1, 0] = rho[:, 0, 1].conj()
    return rho


def _halves(states: States, q: int) -> tuple[Reals, Reals]:
    """Real and imaginary parts where a qubit is 0, and where it is 1."""
    view = states.view(np.float64).reshape(len(states), -1, 2, 2 << q)
    return view[:, :, 0, :], view[:, :, 1, :]


def _product(one: Reals, other: Reals) -> float:
    """Re <one|other>."""
    return float(np.einsum("boi,boi->", one, other))


def bloch(rho: Matrix) -> list[float]:
    """Bloch vector (x, y, z) of a qubit."""
    x, y, z = 2 * rho[0, 1].real, -2 * rho[0, 1].imag, (rho[0, 0] - rho[1, 1]).real
    return [float(x) + 0.0, float(y) + 0.0, float(z) + 0.0]  # -0.0 is 0.0


def entropy(vector: Sequence[float]) -> float:
    """Von Neumann entropy in bits of a qubit with this Bloch vector."""
    length = min(1.0, float(np.linalg.norm(vector)))
    p = np.array([(1 + length) / 2, (1 - length) / 2])
    p = p[p > 0]
    return float(max(0.0, -np.sum(p * np.log2(p))))


def expectations(mixture: Mixture, probabilities: Reals) -> dict[str, float]:
    """Z of every qubit, ZZ and XX of every pair."""
    n = mixture.num_qubits
    x = np.zeros(1 << n)
    for piece in mixture.pieces():
        kernels.walsh_hadamard(piece)
        x += _squares(piece)
    z, zz = _signed_sums(probabilities)
    _, xx = _signed_sums(x / (1 << n))
    pairs = [(a, b) for a in range(n) for b in range(a + 1, n)]
    result = {f"Z_q{q}": float(z[q]) for q in range(n)}
    result |= {f"ZZ_q{a}_q{b}": float(zz[a, b]) for a, b in pairs}
    result |= {f"XX_q{a}_q{b}": float(xx[a, b]) for a, b in pairs}
    return result


def _signed_sums(values: Reals) -> tuple[Reals, Reals]:
    """Sum of a distribution with the sign of each bit, and with that of each pair of bits: shapes (n,) and (n, n)."""
    n = values.size.bit_length() - 1
    half = n // 2
    table = values.reshape(1 << (n - half), 1 << half)  # upper bits by lower bits
    lower, upper = _signs(half), _signs(n - half)
    along_lower: Reals = table.sum(axis=0)
    along_upper: Reals = table.sum(axis=1)
    single: Reals = np.concatenate([along_lower @ lower, along_upper @ upper])
    double = np.empty((n, n))
    double[:half, :half] = lower.T @ (along_lower[:, None] * lower)
    double[half:, half:] = upper.T @ (along_upper[:, None] * upper)
    double[:half, half:] = (table @ lower).T @ upper
    double[half:, :half] = double[:half, half:].T
    return single, double


@lru_cache(maxsize=16)
def _signs(bits: int) -> Reals:
    """(-1)^bit of every number: shape (2^bits, bits)."""
    ones = np.arange(1 << bits)[:, None] >> np.arange(bits) & 1
    return np.where(ones, -1.0, 1.0)


def observable(mixture: Mixture, wanted: circuit.Observable) -> float:
    """Expectation of a weighted sum of Pauli strings; the last letter belongs to qubit 0.

    Strings that flip the same qubits share one transform: <X^x Z^z> over all z are Walsh-Hadamard coefficients.

    Raises:
        AnalysisError: a term is no Pauli string over the circuit's qubits.
    """
    by_flips: dict[int, list[tuple[int, complex]]] = defaultdict(list)
    for term in wanted.terms:
        letters = term.paulis
        if len(letters) != mixture.num_qubits or set(letters) - set("IXYZ"):
            raise AnalysisError(
                "OBSERVABLE_INVALID",
                f"an observable has a term that is no string of {mixture.num_qubits} letters I, X, Y, Z",
            )
        placed = list(enumerate(reversed(letters)))
        flips = sum(1 << q for q, letter in placed if letter in "XY")
        phases = sum(1 << q for q, letter in placed if letter in "YZ")
        by_flips[flips].append((phases, term.coefficient * 1j ** letters.count("Y")))  # Y = i X Z
    total = 0.0
    for flips, terms in by_flips.items():
        overlaps = _overlaps(mixture, flips)
        if len(terms) > mixture.num_qubits:
            kernels.walsh_hadamard(overlaps)
            total += sum((factor * overlaps[phases]).real for phases, factor in terms)
        else:
            index = np.arange(len(overlaps))
            for phases, factor in terms:
                signs = 1.0 - 2.0 * (np.bitwise_count(index & phases) & 1)
                total += (factor * np.dot(signs, overlaps)).real
    return float(total)


def _overlaps(mixture: Mixture, flips: int) -> States:
    """Sum over branches of conj(psi[i ^ flips]) psi[i], for every i."""
    index = np.arange(mixture.states.shape[1]) ^ flips
    total = np.zeros(mixture.states.shape[1], dtype=np.complex128)
    for piece in mixture.pieces():
        total += (np.take(piece, index, axis=1).conj() * piece).sum(axis=0)
    return total


def top(values: Reals, count: int = TOP) -> list[int]:
    """Indices of the greatest probabilities in descending order, ties (to 12 digits) by index."""
    count = min(count, values.size)
    candidates = values
    if values.size > _SMALL:  # the greatest lie in the blocks with the greatest maxima
        blocks = values.reshape(-1, _BLOCK)
        candidates = blocks[np.argpartition(blocks.max(axis=1), -count)[-count:]].ravel()
    least = np.partition(candidates, -count)[-count] - 5e-13  # half a unit of the 12th digit
    chosen = np.flatnonzero(values >= max(least, 1e-12))
    order = np.lexsort((chosen, -np.round(values[chosen], 12)))[:count]
    return [int(i) for i in chosen[order]]
