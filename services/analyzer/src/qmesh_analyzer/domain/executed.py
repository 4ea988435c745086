"""States that were executed, from the rows that the nodes hold, and their fidelity to the ideal."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qmesh.analyzer.v1 import analyzer_pb2 as analysis
from qmesh.fabric.v1 import state_pb2 as state
from qmesh_analyzer.domain import kernels
from qmesh_analyzer.domain.conditions import Column
from qmesh_analyzer.domain.errors import AnalysisError
from qmesh_analyzer.domain.factors import factors_of
from qmesh_analyzer.domain.fields import Mixture
from qmesh_analyzer.domain.ideal import Ideal
from qmesh_analyzer.domain.kernels import Reals, States
from qmesh_analyzer.domain.tableaux import Tableau, joined, tableau_of

_MAX_AMPLITUDES = 1 << 24
_MAX_RANK = 512
_NORM = {state.PRECISION_SINGLE: 1e-3}

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rows:
    """One executed component over qubits: `states[R, 2^n]` and the row of each shot."""

    qubits: tuple[int, ...]
    states: States
    row_of_shot: Integers


@dataclass(frozen=True, slots=True)
class Executed:
    """Distinct executed states of the whole register, and which of them each shot has."""

    states: States
    state_of_shot: Integers

    def mixture(self) -> Mixture:
        """The states with their shares of the shots."""
        shots = np.bincount(self.state_of_shot, minlength=len(self.states))
        return Mixture(self.states, shots / shots.sum())


def decode(header: analysis.AnalysisHeader, blobs: Sequence[tuple[bytes, int]]) -> list[Rows]:
    """Rows of every component over the circuit's qubits; slices of one component become one.

    Raises:
        AnalysisError: the bytes are not what their reference says, or they are no states.
    """
    qubit_of_wire = {wire: qubit for qubit, wire in enumerate(header.final_wires)}
    slices: dict[tuple[int, ...], list[tuple[int, Rows]]] = defaultdict(list)
    for ref, (data, rows_bytes) in zip(header.rows, blobs, strict=True):
        if not set(ref.wires) <= set(qubit_of_wire):
            raise _malformed("name wires that the circuit does not end on")
        rows = _rows(ref, tuple(qubit_of_wire[wire] for wire in ref.wires), data, rows_bytes)
        slices[rows.qubits].append((ref.shots.first, rows))
    qubits = [qubit for group in slices for qubit in group]
    if len(set(qubits)) != len(qubits) or any(qubit >= header.circuit.num_qubits for qubit in qubits):
        raise _malformed("give a qubit twice")
    return [_joined(parts, header.shots) for parts in slices.values()]


def decode_tableaux(header: analysis.AnalysisHeader, blobs: Sequence[tuple[bytes, int]]) -> list[Tableau]:
    """Components that all came as stabilizer states.

    Raises:
        AnalysisError: some did not, or their bytes are not what their reference says.
    """
    if any(ref.executor != state.EXECUTOR_KIND_STABILIZER for ref in header.rows):
        raise AnalysisError(
            "ROWS_MIXED", "some executed rows are amplitudes, and the circuit is too wide for those"
        )
    qubit_of_wire = {wire: qubit for qubit, wire in enumerate(header.final_wires)}
    slices: dict[tuple[int, ...], list[tuple[int, Tableau]]] = defaultdict(list)
    for ref, (data, rows_bytes) in zip(header.rows, blobs, strict=True):
        if not set(ref.wires) <= set(qubit_of_wire):
            raise _malformed("name wires that the circuit does not end on")
        qubits = tuple(qubit_of_wire[wire] for wire in ref.wires)
        slices[qubits].append((ref.shots.first, tableau_of(ref, qubits, data, rows_bytes)))
    seen = [qubit for group in slices for qubit in group]
    if len(set(seen)) != len(seen) or any(qubit >= header.circuit.num_qubits for qubit in seen):
        raise _malformed("give a qubit twice")
    return [joined(parts, header.shots) for parts in slices.values()]


def _malformed(what: str) -> AnalysisError:
    return AnalysisError("ROWS_MALFORMED", f"executed rows {what}")


def _rows(ref: state.ComponentRef, qubits: tuple[int, ...], data: bytes, rows_bytes: int) -> Rows:
    if ref.executor == state.EXECUTOR_KIND_STABILIZER:
        found = tableau_of(ref, qubits, data, rows_bytes)
        if len(found.minus) << len(qubits) > _MAX_AMPLITUDES:
            raise AnalysisError(
                "TOO_MANY_ROWS", "a stabilizer component has too many histories for amplitudes"
            )
        return Rows(qubits, found.amplitudes(), found.row_of_shot)
    single = ref.precision == state.PRECISION_SINGLE
    size = (8 if single else 16) * ref.rows << len(qubits)
    if rows_bytes != size or len(data) - rows_bytes != 4 * ref.shots.count:
        raise _malformed("do not have the size that their reference says")
    flat = np.frombuffer(
        data, dtype=np.complex64 if single else np.complex128, count=int(ref.rows) << len(qubits)
    )
    states = flat.astype(np.complex128).reshape(int(ref.rows), -1)
    row_of_shot = np.frombuffer(data, dtype="<u4", offset=rows_bytes).astype(np.int64)
    if row_of_shot.size == 0 or row_of_shot.max() >= len(states):
        raise _malformed("do not have a row for each shot")
    norms = kernels.norms(states)
    if not np.all(np.abs(norms - 1) < _NORM.get(ref.precision, 1e-6)):  # a NaN is no norm either
        raise _malformed("are not normalised")
    return Rows(qubits, states / np.sqrt(norms)[:, None], row_of_shot)


def _joined(parts: list[tuple[int, Rows]], shots: int) -> Rows:
    parts.sort(key=lambda part: part[0])
    seen = offset = 0
    columns = []
    for first, rows in parts:
        if first != seen:
            raise _malformed("do not cover every shot once")
        seen += len(rows.row_of_shot)
        columns.append(rows.row_of_shot + offset)
        offset += len(rows.states)
    if seen != shots:
        raise _malformed("do not cover every shot once")
    first_rows = parts[0][1]
    if len(parts) == 1:
        return first_rows
    states = np.concatenate([rows.states for _, rows in parts])
    return Rows(first_rows.qubits, states, np.concatenate(columns))


def combine(num_qubits: int, components: Sequence[Rows], shots: int) -> Executed:
    """Executed states of the whole register; shot s of one component belongs with shot s of every other.

    Raises:
        AnalysisError: the distinct states do not fit.
    """
    labels = np.zeros(shots, dtype=np.int64)
    chosen: list[Integers] = []
    count = 1
    for rows in components:
        distinct, labels = np.unique(labels * len(rows.states) + rows.row_of_shot, return_inverse=True)
        chosen = [column[distinct // len(rows.states)] for column in chosen]
        chosen.append(distinct % len(rows.states))
        count = len(distinct)
    if count << num_qubits > _MAX_AMPLITUDES:
        raise AnalysisError(
            "TOO_MANY_ROWS", f"{count} distinct executed states of {num_qubits} qubits do not fit"
        )
    product = np.ones((count, 1), dtype=np.complex128)
    order: list[int] = []
    for rows, column in zip(components, chosen, strict=True):
        product = (rows.states[column][:, :, None] * product[:, None, :]).reshape(count, -1)
        order.extend(rows.qubits)
    missing = [qubit for qubit in range(num_qubits) if qubit not in order]
    if missing:  # never touched: |0>
        padded = np.zeros((count, 1 << num_qubits), dtype=np.complex128)
        padded[:, : product.shape[1]] = product
        product = padded
    order += missing
    # the qubit at bit position p of the product is on axis n - p; bring qubit q to axis n - q
    axes = [0] + [num_qubits - order.index(qubit) for qubit in reversed(range(num_qubits))]
    tensor = product.reshape((count,) + (2,) * num_qubits).transpose(axes)
    return Executed(np.ascontiguousarray(tensor).reshape(count, -1), labels)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Mean over shots with its standard error."""

    value: float
    stderr: float | None

    def with_unseen(self, shots: int) -> Estimate:
        """The same where errors are drawn: what no shot drew may still happen.

        By the rule of three no event in n shots leaves 3/n of probability open at 95 %, two standard errors; in quadrature
        with the spread that was seen (Hanley, Lippman-Hand 1983).
        """
        return Estimate(self.value, None if self.stderr is None else math.hypot(self.stderr, 1.5 / shots))


def mean_of(overlaps: Reals) -> Estimate:
    """Mean over shots of overlaps."""
    n = len(overlaps)
    stderr = float(overlaps.std(ddof=1) / np.sqrt(n)) if n > 1 else None
    return Estimate(min(1.0, float(overlaps.mean())), stderr)


def fidelity(target: States, executed: Executed) -> Estimate:
    """Mean over shots of |<ideal|executed>|^2."""
    overlaps = np.abs(executed.states @ target[0].conj()) ** 2
    return mean_of(overlaps[executed.state_of_shot])


def fidelity_by_factors(target: States, components: Sequence[Rows], shots: int) -> tuple[Estimate, bool]:
    """Mean over shots of |<ideal|executed>|^2 without the executed states of the whole register, and whether it is a lower bound."""
    factors = factors_of(target[0], [rows.qubits for rows in components])
    products = np.repeat(factors.weights[:, None], shots, axis=1).astype(np.complex128)
    for rows, vectors in zip(components, factors.vectors, strict=True):
        products *= (vectors.conj() @ rows.states.T)[:, rows.row_of_shot]
    amplitudes = np.maximum(0.0, np.abs(products.sum(axis=0)) - factors.remainder)
    return mean_of(amplitudes**2), factors.remainder > 0


def conditional_fidelity(ideal: Ideal, executed: Executed, columns: Mapping[int, Column]) -> Estimate:
    """Fidelity to the ideal projected on each shot's recorded outcomes, averaged over shots.

    An impossible history counts 0. Where an unrecorded outcome (a reset of an entangled qubit) leaves a mixture, it is
    Uhlmann's fidelity between the ideal mixture and the executed one of that history, without a standard error.

    Raises:
        AnalysisError: the mixtures are too large.
    """
    versions = [version for version in sorted(ideal.bits) if version in columns]
    recorded = _histories([columns[version] for version in versions], len(executed.state_of_shot))
    wanted = _histories([ideal.bits[version] for version in versions], len(ideal.weights))
    branches_of: dict[bytes, list[int]] = defaultdict(list)
    for branch, key in enumerate(wanted):
        branches_of[key].append(branch)
    shots_of: dict[bytes, list[int]] = defaultdict(list)
    for shot, key in enumerate(recorded):
        shots_of[key].append(shot)
    overlaps = np.zeros(len(recorded))
    mixed = False
    for key, shots in shots_of.items():
        branches = branches_of.get(key)
        if branches is None:
            continue
        which, inverse, times = np.unique(
            executed.state_of_shot[shots], return_inverse=True, return_counts=True
        )
        gram = ideal.states[branches].conj() @ executed.states[which].T
        if len(branches) == 1:
            overlaps[shots] = (np.abs(gram[0]) ** 2)[inverse]
        else:
            mixed = True
            weights = ideal.weights[branches]
            overlaps[shots] = _uhlmann(gram, weights / weights.sum(), times / times.sum())
    estimate = mean_of(overlaps)
    return Estimate(estimate.value, None) if mixed else estimate


def _histories(columns: Sequence[Column], count: int) -> list[bytes]:
    if not columns:
        return [b""] * count
    table = np.packbits(np.stack(columns, axis=1), axis=1)
    return [row.tobytes() for row in table]


def _uhlmann(gram: NDArray[np.complex128], p: Reals, q: Reals) -> float:
    """(Tr|sqrt(rho) sqrt(sigma)|)^2 from the overlaps of the pure states that rho and sigma are made of."""
    if min(gram.shape) > _MAX_RANK:
        raise AnalysisError(
            "TOO_MANY_HISTORIES", f"mixtures of more than {_MAX_RANK} states are not compared"
        )
    scaled = np.sqrt(p)[:, None] * gram * np.sqrt(q)
    return float(np.linalg.svd(scaled, compute_uv=False).sum() ** 2)
