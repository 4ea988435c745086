"""Fields of the quantum result from ideal states; fast kernels, checked against Qiskit in the tests.

States are little-endian: qubit q is the middle axis of `psi.reshape(2**(n-1-q), 2, 2**q)`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh_analyzer.domain.ideal import Ideal, Vector

Matrix = NDArray[np.complex128]
Probabilities = NDArray[np.float64]

TOP = 16


def probabilities(ideal: Ideal) -> Probabilities:
    """P over the computational basis, averaged over outcomes: shape (2^n,)."""
    total: Probabilities = sum(
        (b.probability * (b.state.real**2 + b.state.imag**2) for b in ideal.branches),
        start=np.zeros(ideal.branches[0].state.size),
    )
    return total


def density_matrices(states: Sequence[tuple[Vector, float]]) -> list[Matrix]:
    """Reduced density matrix of every qubit of a mixture of (state, weight): n matrices of shape (2, 2)."""
    n = states[0][0].size.bit_length() - 1
    result = []
    for q in range(n):
        rho = np.zeros((2, 2), dtype=np.complex128)
        for state, weight in states:
            view = state.reshape(-1, 2, 1 << q)
            rho += weight * np.einsum("iaj,ibj->ab", view, view.conj())
        result.append(rho)
    return result


def bloch(rho: Matrix) -> list[float]:
    """Bloch vector (x, y, z) of a qubit."""
    return [
        float(2 * rho[0, 1].real),
        float(-2 * rho[0, 1].imag),
        float((rho[0, 0] - rho[1, 1]).real),
    ]


def entropy(rho: Matrix) -> float:
    """Von Neumann entropy in bits, from the length of the Bloch vector."""
    length = min(1.0, float(np.linalg.norm(bloch(rho))))
    p = np.array([(1 + length) / 2, (1 - length) / 2])
    p = p[p > 0]
    return float(max(0.0, -np.sum(p * np.log2(p))))


def _walsh_hadamard(values: Probabilities) -> Probabilities:
    n = values.size.bit_length() - 1
    out = values.copy()
    for q in range(n):
        view = out.reshape(-1, 2, 1 << q)
        plus, minus = view[:, 0, :] + view[:, 1, :], view[:, 0, :] - view[:, 1, :]
        view[:, 0, :], view[:, 1, :] = plus, minus
    return out


def _hadamard_all(state: Vector) -> Vector:
    n = state.size.bit_length() - 1
    out = state.copy()
    for q in range(n):
        view = out.reshape(-1, 2, 1 << q)
        plus, minus = view[:, 0, :] + view[:, 1, :], view[:, 0, :] - view[:, 1, :]
        view[:, 0, :], view[:, 1, :] = plus, minus
    return out / np.sqrt(out.size)


def expectations(states: Sequence[tuple[Vector, float]]) -> dict[str, float]:
    """Z of every qubit, ZZ and XX of every pair: Walsh-Hadamard coefficients at weight one and two."""
    size = states[0][0].size
    n = size.bit_length() - 1
    z = _walsh_hadamard(sum((w * np.abs(s) ** 2 for s, w in states), start=np.zeros(size)))
    x = _walsh_hadamard(sum((w * np.abs(_hadamard_all(s)) ** 2 for s, w in states), start=np.zeros(size)))
    result = {f"Z_q{q}": float(z[1 << q]) for q in range(n)}
    pairs = [(a, b) for a in range(n) for b in range(a + 1, n)]
    result |= {f"ZZ_q{a}_q{b}": float(z[1 << a | 1 << b]) for a, b in pairs}
    result |= {f"XX_q{a}_q{b}": float(x[1 << a | 1 << b]) for a, b in pairs}
    return result


_LETTERS: dict[str, Matrix] = {
    "X": np.array([[0, 1], [1, 0]], dtype=np.complex128),
    "Y": np.array([[0, -1j], [1j, 0]], dtype=np.complex128),
    "Z": np.array([[1, 0], [0, -1]], dtype=np.complex128),
}


def observable(states: Sequence[tuple[Vector, float]], wanted: circuit.Observable) -> float:
    """Expectation of a weighted sum of Pauli strings; the last letter belongs to qubit 0."""
    from qmesh_analyzer.domain.ideal import apply

    total = 0.0
    for term in wanted.terms:
        for state, weight in states:
            acted = state
            for q, letter in enumerate(reversed(term.paulis)):
                if letter != "I":
                    acted = apply(acted, _LETTERS[letter], [q])
            total += weight * term.coefficient * float(np.vdot(state, acted).real)
    return total


def top(values: Probabilities, count: int = TOP) -> list[int]:
    """Indices of the greatest probabilities, ties by index."""
    count = min(count, values.size)
    order = np.lexsort((np.arange(values.size), -np.round(values, 12)))[:count]
    return [int(i) for i in order if values[i] > 1e-12]  # noqa: PLR2004 - what is numerically zero is no state


def outcome_distribution(form: circuit.Circuit, ideal: Ideal, limit: int = 65_536) -> dict[str, float] | None:
    """Exact distribution of the classical bits, keyed as counts are; None above the limit.

    Terminal bits come from the state before the terminal measurements, the others from the branch.
    """
    by_version = {op.writes[0].version: op.qubits[0] for op in ideal.terminals if op.writes}
    result: dict[str, float] = {}
    for branch in ideal.branches:
        qubits = [by_version[v] for v in form.final_versions if v in by_version]
        weights = marginal(np.abs(branch.state) ** 2, qubits)
        support = np.flatnonzero(weights > 1e-15)  # noqa: PLR2004 - rounding, not probability
        if len(support) + len(result) > limit:
            return None
        for index in support:
            key = _key(form, branch.bits, by_version, int(index))
            result[key] = result.get(key, 0.0) + branch.probability * float(weights[index])
    return dict(sorted(result.items()))


def _key(form: circuit.Circuit, bits: dict[int, bool], terminal: dict[int, int], index: int) -> str:
    values = []
    position = 0
    for version in form.final_versions:
        if version in terminal:
            values.append(index >> position & 1)
            position += 1
        else:
            values.append(int(bits.get(version, False)))
    parts = []
    for register in reversed(form.bit_registers):
        window = values[register.offset : register.offset + register.size]
        parts.append("".join(str(v) for v in reversed(window)))
    return " ".join(parts)


def marginal(values: Probabilities, qubits: Sequence[int]) -> Probabilities:
    """Marginal over qubits; bit k of the index belongs to qubits[k]."""
    n = values.size.bit_length() - 1
    kept = [n - 1 - q for q in reversed(qubits)]
    rest = [axis for axis in range(n) if axis not in kept]
    ordered = values.reshape((2,) * n).transpose([*kept, *rest])
    total: Probabilities = ordered.reshape(1 << len(qubits), -1).sum(axis=1)
    return total
