"""Every history of mid-circuit outcomes at once: one normalised row of amplitudes for each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh_analyzer.domain import kernels
from qmesh_analyzer.domain.codes import CODES, corrections
from qmesh_analyzer.domain.conditions import Column, holds
from qmesh_analyzer.domain.errors import AnalysisError
from qmesh_analyzer.domain.kernels import Matrix, Reals, States

MAX_HISTORIES = 4096
MAX_AMPLITUDES = 1 << 25
_CERTAIN = 1e-12  # the execution model's bound: an outcome that is less probable does not happen

Rows = NDArray[np.intp]
Writes = Sequence[circuit.ClassicalWrite]


class Branches:
    """The branches of one circuit while its operations pass."""

    def __init__(self, num_qubits: int, global_phase: float) -> None:
        """One branch with every qubit in |0>."""
        self.states: States = np.zeros((1, 1 << num_qubits), dtype=np.complex128)
        self.states[0, 0] = np.exp(1j * global_phase)
        self.weights: Reals = np.ones(1)
        self.bits: dict[int, Column] = {}

    def __len__(self) -> int:
        """Number of branches."""
        return len(self.weights)

    def where(self, condition: circuit.Condition) -> Column:
        """Branches in which a condition is true."""
        return holds(condition, self.bits, len(self))

    def apply(self, matrix: Matrix, qubits: Sequence[int], active: Column | None) -> None:
        """A gate where `active`."""
        if active is None or active.all():
            kernels.apply(self.states, matrix, qubits)
        elif active.any():
            part = self.states[active]
            kernels.apply(part, matrix, qubits)
            self.states[active] = part

    def measure(self, qubit: int, writes: Writes, active: Column | None) -> None:
        """Measures a qubit where `active`; elsewhere the written bits keep their previous version."""
        outcome, rows = self._split(0, 1 << qubit, active)
        self._write(writes, [outcome], None if active is None else active[rows])

    def reset(self, qubit: int, active: Column | None) -> None:
        """Brings a qubit to |0> where `active`; branches that become equal by it become one."""
        outcome, rows = self._split(0, 1 << qubit, active)
        self.states[outcome] = kernels.pauli(self.states[outcome], 1 << qubit, 0)
        self._merge(outcome, rows)

    def syndrome(self, qubits: Sequence[int], writes: Writes, active: Column | None) -> None:
        """Measures the checks of a code in order, then applies the correction that they call for."""
        if len(qubits) == 1:
            return
        code = CODES.get(len(qubits))
        if code is None:
            raise AnalysisError("UNSUPPORTED_OPERATION", f"no code has {len(qubits)} qubits")
        seen = np.zeros(len(self), dtype=np.int64)
        for number, (flips, phases) in enumerate(code.checks):
            outcome, rows = self._split(_spread(flips, qubits), _spread(phases, qubits), active)
            seen = seen[rows] | outcome.astype(np.int64) << number
            active = None if active is None else active[rows]
        table = corrections(code.size)
        for value in np.unique(seen):
            flips, phases = (_spread(int(mask), qubits) for mask in table[value])
            if flips or phases:
                chosen = np.flatnonzero(seen == value)
                self.states[chosen] = kernels.pauli(self.states[chosen], flips, phases)
        columns = [(seen >> number & 1).astype(np.bool_) for number in range(len(code.checks))]
        self._write(writes, columns, active)

    def _write(self, writes: Writes, columns: Sequence[Column], active: Column | None) -> None:
        for write, column in zip(writes, columns, strict=False):
            if active is None:
                self.bits[write.version] = column
            else:
                previous = self.bits.get(write.previous)
                self.bits[write.version] = (
                    column & active if previous is None else np.where(active, column, previous)
                )

    def _split(self, flips: int, phases: int, active: Column | None) -> tuple[Column, Rows]:
        """Measures a product of X (or of Z) where `active`, and projects.

        Returns:
            Whether the outcome was the eigenvalue -1, and the earlier branch that each branch came from.

        Raises:
            AnalysisError: too many histories.
        """
        acted = kernels.pauli(self.states, flips, phases)
        expectation = np.einsum("bi,bi->b", self.states.view(np.float64), acted.view(np.float64))
        minus = (1 - expectation) / 2
        plain = np.zeros(len(self), dtype=np.bool_) if active is None else ~active
        first = np.flatnonzero((minus < 1 - _CERTAIN) | plain)
        second = np.flatnonzero((minus > _CERTAIN) & ~plain)
        rows = np.concatenate([first, second])
        self._check(len(rows))
        outcome = np.arange(len(rows)) >= len(first)
        kept = plain[rows]
        sign = np.where(kept, 0.0, np.where(outcome, -1.0, 1.0))
        unchanged = len(rows) == len(self) and bool(np.array_equal(rows, np.arange(len(self))))
        if not unchanged:
            self.states, acted = self.states[rows], acted[rows]
            self.bits = {version: column[rows] for version, column in self.bits.items()}
        acted *= sign[:, None]
        self.states += acted
        self.states /= np.sqrt(kernels.norms(self.states))[:, None]
        chance = np.where(outcome, minus[rows], 1 - minus[rows])
        self.weights = self.weights[rows] * np.where(kept, 1.0, chance)
        return outcome, rows

    def _check(self, histories: int) -> None:
        if histories > MAX_HISTORIES:
            raise AnalysisError("TOO_MANY_HISTORIES", f"more than {MAX_HISTORIES} histories of outcomes")
        if histories * self.states.shape[1] > MAX_AMPLITUDES:
            raise AnalysisError("TOO_MANY_HISTORIES", "the histories of outcomes do not fit into memory")

    def _merge(self, outcome: Column, rows: Rows) -> None:
        """Joins the two outcomes of each branch where they left the same state: nobody knows which it was."""
        twin = {int(origin): place for place, origin in enumerate(rows) if not outcome[place]}
        pairs = [(twin[int(rows[b])], b) for b in np.flatnonzero(outcome) if int(rows[b]) in twin]
        if not pairs:
            return
        keep = np.ones(len(self), dtype=np.bool_)
        for a, b in pairs:
            if abs(np.vdot(self.states[a], self.states[b])) ** 2 > 1 - _CERTAIN:
                self.weights[a] += self.weights[b]
                keep[b] = False
        if not keep.all():
            self.states, self.weights = self.states[keep], self.weights[keep]
            self.bits = {version: column[keep] for version, column in self.bits.items()}


def _spread(mask: int, qubits: Sequence[int]) -> int:
    """Mask over the register of a mask over operands."""
    return sum(1 << qubit for place, qubit in enumerate(qubits) if mask >> place & 1)
