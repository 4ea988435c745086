"""States that were executed, from the rows that the nodes hold, and their fidelity to the ideal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qmesh.analyzer.v1 import analyzer_pb2 as analysis
from qmesh.fabric.v1 import state_pb2 as state
from qmesh_analyzer.domain.errors import AnalysisError
from qmesh_analyzer.domain.ideal import Ideal, Vector

_MAX_AMPLITUDES = 1 << 24


@dataclass(frozen=True, slots=True)
class Rows:
    """One executed component over qubits: `states[R, 2^n]` and the row of each shot."""

    qubits: tuple[int, ...]
    states: NDArray[np.complex128]
    row_of_shot: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Executed:
    """Distinct executed states of the whole register with the number of shots of each."""

    states: list[Vector]
    shots: NDArray[np.int64]
    state_of_shot: NDArray[np.int64]

    def mixture(self) -> list[tuple[Vector, float]]:
        """States with their weights."""
        total = float(self.shots.sum())
        return [(vector, count / total) for vector, count in zip(self.states, self.shots, strict=True)]


def decode(header: analysis.AnalysisHeader, blobs: Sequence[tuple[bytes, int]]) -> list[Rows]:
    """Rows of every component over the circuit's qubits.

    Raises:
        AnalysisError: a component's bytes are not what its reference says.
    """
    qubit_of_wire = {wire: qubit for qubit, wire in enumerate(header.final_wires)}
    result = []
    for ref, (data, rows_bytes) in zip(header.rows, blobs, strict=True):
        dtype = np.complex64 if ref.precision == state.PRECISION_SINGLE else np.complex128
        states = np.frombuffer(data[:rows_bytes], dtype=dtype).astype(np.complex128)
        rows = np.frombuffer(data[rows_bytes:], dtype=np.uint32).astype(np.int64)
        if states.size != ref.rows << len(ref.wires) or rows.size != ref.shots.count:
            raise AnalysisError("ROWS_MALFORMED", "executed rows do not have the size that their reference says")
        result.append(
            Rows(tuple(qubit_of_wire[w] for w in ref.wires), states.reshape(int(ref.rows), -1), rows)
        )
    return result


def combine(num_qubits: int, components: Sequence[Rows], shots: int) -> Executed:
    """Executed states of the whole register; shot s of one component belongs with shot s of every other.

    Raises:
        AnalysisError: the distinct states do not fit.
    """
    labels = np.zeros(shots, dtype=np.int64)
    parts: list[NDArray[np.int64]] = []
    count = 1
    for rows in components:
        distinct, labels = np.unique(labels * len(rows.states) + rows.row_of_shot, return_inverse=True)
        parts = [part[distinct // len(rows.states)] for part in parts]
        parts.append(distinct % len(rows.states))
        count = len(distinct)
    if count << num_qubits > _MAX_AMPLITUDES:
        raise AnalysisError("TOO_MANY_ROWS", f"{count} distinct executed states of {num_qubits} qubits")
    states = []
    for index in range(count):
        states.append(_product(num_qubits, [(r, r.states[p[index]]) for r, p in zip(components, parts, strict=True)]))
    return Executed(states, np.bincount(labels, minlength=count), labels)


def _product(num_qubits: int, factors: Sequence[tuple[Rows, Vector]]) -> Vector:
    vector = np.ones(1, dtype=np.complex128)
    order: list[int] = []
    for rows, state_vector in factors:
        vector = np.kron(state_vector, vector)
        order.extend(rows.qubits)
    missing = [q for q in range(num_qubits) if q not in order]
    for qubit in missing:
        vector = np.kron(np.array([1, 0]), vector)
        order.append(qubit)
    # axis of the qubit at bit position p is n - 1 - p; bring qubit q to bit position q
    position = {qubit: p for p, qubit in enumerate(order)}
    axes = [num_qubits - 1 - position[q] for q in reversed(range(num_qubits))]
    return np.ascontiguousarray(vector.reshape((2,) * num_qubits).transpose(axes)).reshape(-1)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Mean over shots with its standard error."""

    value: float
    stderr: float


def _mean(overlaps: NDArray[np.float64]) -> Estimate:
    n = len(overlaps)
    stderr = float(overlaps.std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0
    return Estimate(float(overlaps.mean()), stderr)


def fidelity(target: Vector, executed: Executed) -> Estimate:
    """Mean over shots of |<ideal|executed>|^2."""
    overlaps = np.array([abs(np.vdot(target, vector)) ** 2 for vector in executed.states])
    return _mean(overlaps[executed.state_of_shot])


def conditional_fidelity(
    ideal: Ideal, executed: Executed, columns: Mapping[int, NDArray[np.bool_]]
) -> Estimate:
    """Mean over shots of the overlap with the ideal projected on the shot's recorded outcomes.

    An impossible history counts 0. Outcomes that are not recorded (resets) are averaged over.
    """
    versions = sorted({v for branch in ideal.branches for v in branch.bits if v in columns})
    keys = np.zeros(len(executed.state_of_shot), dtype=np.int64)
    for position, version in enumerate(versions):
        keys |= columns[version].astype(np.int64) << position
    by_history: dict[int, list[tuple[float, Vector]]] = {}
    for branch in ideal.branches:
        key = sum(int(branch.bits.get(v, False)) << k for k, v in enumerate(versions))
        by_history.setdefault(key, []).append((branch.probability, branch.state))
    pairs, inverse = np.unique(np.stack([keys, executed.state_of_shot], axis=1), axis=0, return_inverse=True)
    overlaps = np.zeros(len(pairs))
    for number, (key, which) in enumerate(pairs):
        branches = by_history.get(int(key), [])
        total = sum(p for p, _ in branches)
        if total > 0:
            vector = executed.states[int(which)]
            overlaps[number] = sum(p * abs(np.vdot(s, vector)) ** 2 for p, s in branches) / total
    return _mean(overlaps[inverse.reshape(-1)])


def hellinger(counts: Mapping[str, int], exact: Mapping[str, float]) -> tuple[float, float]:
    """Hellinger fidelity of counts to an exact distribution, and its expected value under sampling noise.

    The expectation is 1 - (K - 1) / (4 N) to first order, K outcomes of the support and N shots.
    """
    shots = sum(counts.values())
    overlap = sum(np.sqrt(n / shots * exact.get(key, 0.0)) for key, n in counts.items())
    expected = max(0.0, 1.0 - (len(exact) - 1) / (4.0 * shots))
    return float(min(1.0, overlap**2)), expected
