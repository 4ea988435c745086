"""Ideal states of a circuit before its terminal measurements, one for each branch of mid-circuit outcomes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh_analyzer.domain.aer import simulate
from qmesh_analyzer.domain.branches import Branches
from qmesh_analyzer.domain.conditions import Column
from qmesh_analyzer.domain.errors import AnalysisError
from qmesh_analyzer.domain.gates import SWAP, unitary_of
from qmesh_analyzer.domain.kernels import Reals, States

MAX_QUBITS = 22
AER_FROM = 19  # measured: below it the kernels are faster than Aer

IDLE = frozenset(
    {
        circuit.OPERATION_KIND_BARRIER,
        circuit.OPERATION_KIND_DELAY,
        circuit.OPERATION_KIND_DISTILLATION,
    }
)
SWAPS = frozenset({circuit.OPERATION_KIND_TELEPORT, circuit.OPERATION_KIND_SWAP})


@dataclass(frozen=True, slots=True)
class Ideal:
    """What the circuit means.

    Attributes:
        states: normalised state of every branch, shape (B, 2^n).
        weights: probability of every branch, shape (B,).
        bits: value in every branch of each version that a mid-circuit operation writes.
        dynamic: whether outcomes or conditions leave no single state.
        terminal: qubit that each terminal version is read from.
        method: how it was computed: "statevector", "branches" or "aer".
    """

    states: States
    weights: Reals
    bits: dict[int, Column]
    dynamic: bool
    terminal: dict[int, int]
    method: str = "branches"

    @property
    def pure(self) -> States | None:
        """The state as one row, when there is one."""
        return None if self.dynamic else self.states


def ideal_of(form: circuit.Circuit) -> Ideal:
    """Ideal states by exact branch enumeration.

    Raises:
        AnalysisError: too many qubits or histories, or an operation that has no ideal.
    """
    if form.num_qubits > MAX_QUBITS:
        raise AnalysisError(
            "TOO_MANY_QUBITS", f"{form.num_qubits} qubits exceed the dense limit of {MAX_QUBITS}"
        )
    if any(max(op.qubits, default=0) >= form.num_qubits for op in form.operations):
        raise AnalysisError("INVALID_ARGUMENT", "an operation names a qubit that the circuit does not have")
    dynamic = is_dynamic(form)
    terminal = {op.writes[0].version: op.qubits[0] for op in form.operations if op.terminal and op.writes}
    if not dynamic and form.num_qubits >= AER_FROM:
        return Ideal(simulate(form), np.ones(1), {}, dynamic=False, terminal=terminal, method="aer")
    branches = Branches(form.num_qubits, form.global_phase.value)
    for operation in form.operations:
        if operation.kind not in IDLE and not operation.terminal:
            _step(branches, operation)
    method = "branches" if dynamic else "statevector"
    return Ideal(branches.states, branches.weights, branches.bits, dynamic, terminal, method)


def is_dynamic(form: circuit.Circuit) -> bool:
    """Whether outcomes or conditions leave no single state before the terminal measurements."""
    return any(collapses(op) or op.HasField("condition") for op in form.operations)


def collapses(operation: circuit.Operation) -> bool:
    """Whether an operation leaves more than one history."""
    if operation.kind == circuit.OPERATION_KIND_SYNDROME:
        return len(operation.qubits) > 1
    return operation.kind == circuit.OPERATION_KIND_RESET or (
        operation.kind == circuit.OPERATION_KIND_MEASURE and not operation.terminal
    )


def _step(branches: Branches, operation: circuit.Operation) -> None:
    active = branches.where(operation.condition) if operation.HasField("condition") else None
    qubits = list(operation.qubits)
    if operation.kind == circuit.OPERATION_KIND_GATE:
        branches.apply(unitary_of(operation), qubits, active)
    elif operation.kind in SWAPS:
        branches.apply(SWAP, qubits, active)
    elif operation.kind == circuit.OPERATION_KIND_MEASURE:
        branches.measure(qubits[0], operation.writes, active)
    elif operation.kind == circuit.OPERATION_KIND_RESET:
        branches.reset(qubits[0], active)
    elif operation.kind == circuit.OPERATION_KIND_SYNDROME:
        branches.syndrome(qubits, operation.writes, active)
    else:
        raise AnalysisError("UNSUPPORTED_OPERATION", f"no ideal is known for {operation.name!r}")
