"""Fields of the quantum result from generators instead of amplitudes, for Clifford circuits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh_analyzer.domain import correlations, fields
from qmesh_analyzer.domain.affine import affine_space, elements
from qmesh_analyzer.domain.correlations import Columns, Signs
from qmesh_analyzer.domain.errors import AnalysisError
from qmesh_analyzer.domain.stabilizer import Stabilizer
from qmesh_analyzer.domain.tableaux import Tableau

MAX_PAIRS_QUBITS = 128
_ONE = np.ones(1)

Matrix = NDArray[np.float64]


def density_matrices(vectors: Matrix) -> NDArray[np.complex128]:
    """Reduced density matrix of every qubit from its Bloch vector: shape (n, 2, 2)."""
    x, y, z = vectors.T
    rho = np.empty((len(vectors), 2, 2), dtype=np.complex128)
    rho[:, 0, 0], rho[:, 1, 1] = (1 + z) / 2, (1 - z) / 2
    rho[:, 0, 1] = (x - 1j * y) / 2
    rho[:, 1, 0] = rho[:, 0, 1].conj()
    return rho


class IdealMoments:
    """One- and two-qubit expectations of an ideal, averaged over outcomes."""

    def __init__(self, state: Stabilizer) -> None:
        """Takes the state."""
        self._state = state
        self._columns = Columns(state.x[state.n :], state.z[state.n :])

    def _sign(self, letter: str, places: Sequence[int]) -> tuple[Signs, int]:
        x, z = np.zeros((2, self._state.n), dtype=np.bool_)
        x[list(places)], z[list(places)] = letter in "XY", letter in "YZ"
        bit = self._state.sign(x, z)
        if bit is None:
            raise ValueError("asked for a sign that is not fixed")
        return np.array([1.0 - 2.0 * bit.constant]), bit.symbols

    def singles(self) -> Matrix:
        """Bloch vectors: shape (n, 3)."""
        return correlations.singles(self._columns, self._sign, _ONE)

    def pairs(self, letter: str) -> Matrix:
        """<P_i P_j>: shape (n, n)."""
        return correlations.pairs(self._columns, letter, self._sign, _ONE)


def _signs_of(part: Tableau) -> correlations.SignOf:
    def sign(letter: str, places: Sequence[int]) -> tuple[Signs, int]:
        return part.eigenvalues(letter, places), 0

    return sign


class ExecutedMoments:
    """One- and two-qubit expectations of what was executed, averaged over shots."""

    def __init__(self, num_qubits: int, components: Sequence[Tableau], shots: int) -> None:
        """Takes the components; qubits that none of them has are |0>."""
        self._n = num_qubits
        self._parts = components
        self._shots = shots

    def _each(self) -> Iterator[tuple[Tableau, Signs]]:
        for part in self._parts:
            yield part, np.bincount(part.row_of_shot, minlength=len(part.minus)) / self._shots

    def singles(self) -> Matrix:
        """Bloch vectors: shape (n, 3)."""
        made = np.zeros((self._n, 3))
        made[:, 2] = 1.0
        for part, weights in self._each():
            made[list(part.qubits)] = correlations.singles(part.columns, _signs_of(part), weights)
        return made

    def pairs(self, letter: str) -> Matrix:
        """<P_i P_j>: shape (n, n); across components shot by shot."""
        signs = np.zeros((self._shots, self._n))
        signs[:, :] = 1.0 if letter == "Z" else 0.0
        inside: list[tuple[list[int], Matrix]] = []
        for part, weights in self._each():
            qubits = list(part.qubits)
            signs[:, qubits] = 0.0
            for place in part.columns.groups(letter)[0]:
                signs[:, qubits[place]] = part.eigenvalues(letter, [place])[part.row_of_shot]
            made = correlations.pairs(
                part.columns,
                letter,
                _signs_of(part),
                weights,
            )
            inside.append((qubits, made))
        total: Matrix = signs.T @ signs / self._shots
        for qubits, made in inside:
            total[np.ix_(qubits, qubits)] = made
        return total

    def expectation(self, letters: str) -> float:
        """Mean over shots of a Pauli string whose last letter belongs to qubit 0."""
        placed = dict(enumerate(reversed(letters)))
        value = np.ones(self._shots)
        untouched = set(placed)
        for part in self._parts:
            untouched -= set(part.qubits)
            value *= part.value([placed[qubit] for qubit in part.qubits])[part.row_of_shot]
        if any(placed[qubit] in "XY" for qubit in untouched):
            return 0.0
        return float(value.mean())


def named(z: Matrix, zz: Matrix | None, xx: Matrix | None) -> dict[str, float]:
    """Z of every qubit, ZZ and XX of every pair, by name."""
    n = len(z)
    result = {f"Z_q{q}": float(z[q]) for q in range(n)}
    for label, values in (("ZZ", zz), ("XX", xx)):
        if values is not None:
            result |= {f"{label}_q{a}_q{b}": float(values[a, b]) for a in range(n) for b in range(a + 1, n)}
    return result


def ideal_expectation(state: Stabilizer, letters: str) -> float:
    """Expectation of a Pauli string whose last letter belongs to qubit 0."""
    placed = np.array(list(reversed(letters)))
    return state.expectation(np.isin(placed, ["X", "Y"]), np.isin(placed, ["Y", "Z"]))


def check_strings(wanted: circuit.Observable, num_qubits: int) -> None:
    """Refuses an observable that is no sum of Pauli strings over the circuit's qubits.

    Raises:
        AnalysisError: it is not.
    """
    for term in wanted.terms:
        if len(term.paulis) != num_qubits or set(term.paulis) - set("IXYZ"):
            raise AnalysisError(
                "OBSERVABLE_INVALID",
                f"an observable has a term that is no string of {num_qubits} letters I, X, Y, Z",
            )


def top_states(state: Stabilizer) -> list[dict[str, Any]]:
    """The least basis states of the support: all are equally probable; amplitudes up to one phase."""
    work = state.copy()
    values = [work.measure(*work.one(qubit, "Z")) for qubit in range(state.n)]
    origin, basis = affine_space(values)
    chosen = elements(origin, basis, fields.TOP)
    generators = _echelon(state)
    probability = 0.5 ** len(basis)
    return [
        {
            "basis": f"{number:0{state.n}b}",
            "probability": probability,
            "amplitude": [probability**0.5 * part for part in _phase(generators, number ^ origin, origin)],
        }
        for number in chosen
    ]


def strings(state: Stabilizer) -> list[str]:
    """The stabilizers as signed Pauli strings, the last letter for qubit 0."""
    letters = np.array(list("IXZY"))
    codes = state.x[state.n :] + 2 * state.z[state.n :].astype(np.int64)
    return [
        ("-" if minus else "+") + "".join(letters[row[::-1]])
        for row, minus in zip(codes, state.minus, strict=True)
    ]


type _Generator = tuple[int, int, bool]


def _echelon(state: Stabilizer) -> list[_Generator]:
    """Stabilizers with X parts in reduced echelon form, greatest leading bit first."""
    powers = [1 << q for q in range(state.n)]
    rows = [
        (
            sum(p for p, bit in zip(powers, x, strict=True) if bit),
            sum(p for p, bit in zip(powers, z, strict=True) if bit),
            bool(minus),
        )
        for x, z, minus in zip(state.x[state.n :], state.z[state.n :], state.minus, strict=True)
    ]
    made: list[_Generator] = []
    for row in rows:
        reduced = row
        for other in made:
            if reduced[0] ^ other[0] < reduced[0]:
                reduced = _times(reduced, other)
        if reduced[0]:
            made.append(reduced)
            made.sort(reverse=True)
    return made


def _times(a: _Generator, b: _Generator) -> _Generator:
    """Product of two commuting stabilizers."""
    quarter = (a[0] & a[1]).bit_count() + (b[0] & b[1]).bit_count() + 2 * (a[1] & b[0]).bit_count()
    x, z = a[0] ^ b[0], a[1] ^ b[1]
    quarter -= (x & z).bit_count()
    return x, z, a[2] ^ b[2] ^ bool(quarter // 2 % 2)


def _phase(generators: Sequence[_Generator], difference: int, origin: int) -> tuple[float, float]:
    """Amplitude at a basis state, relative to that at the origin."""
    product: _Generator = (0, 0, False)
    rest = difference
    for generator in generators:
        if rest ^ generator[0] < rest:
            rest ^= generator[0]
            product = _times(product, generator)
    x, z, minus = product
    value = 1j ** (x & z).bit_count() * (-1) ** ((z & origin).bit_count() + minus)
    return value.real + 0.0, value.imag + 0.0
