"""Ideal states of a circuit before its terminal measurements, one for each branch of mid-circuit outcomes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh_analyzer.domain.conditions import holds
from qmesh_analyzer.domain.errors import AnalysisError
from qmesh_analyzer.domain.gates import gate_of, unitary_of

Vector = NDArray[np.complex128]

MAX_HISTORIES = 4096
MAX_QUBITS = 22
_AER_FROM = 12
_MAX_AMPLITUDES = 1 << 25
_EPSILON = 1e-14

_IDLE = frozenset(
    {
        circuit.OPERATION_KIND_BARRIER,
        circuit.OPERATION_KIND_DELAY,
        circuit.OPERATION_KIND_DISTILLATION,
    }
)
_SWAPS = frozenset({circuit.OPERATION_KIND_TELEPORT, circuit.OPERATION_KIND_SWAP})


@dataclass(slots=True)
class Branch:
    """One history of outcomes: normalised state, probability, values of bit versions."""

    state: Vector
    probability: float
    bits: dict[int, bool] = field(default_factory=dict)


@dataclass(slots=True)
class Ideal:
    """What the circuit means."""

    branches: list[Branch]
    dynamic: bool
    terminals: list[circuit.Operation]

    @property
    def pure(self) -> Vector | None:
        """The state, when there is one."""
        return None if self.dynamic else self.branches[0].state


def ideal_of(form: circuit.Circuit) -> Ideal:
    """Ideal states by exact branch enumeration.

    Raises:
        AnalysisError: too many qubits or histories.
    """
    if form.num_qubits > MAX_QUBITS:
        raise AnalysisError("TOO_MANY_QUBITS", f"{form.num_qubits} qubits exceed the dense limit of {MAX_QUBITS}")
    dynamic = any(_collapses(op) or op.HasField("condition") for op in form.operations)
    terminals = [op for op in form.operations if op.terminal]
    if not dynamic and form.num_qubits >= _AER_FROM:
        return Ideal([Branch(_by_aer(form), 1.0)], dynamic=False, terminals=terminals)
    zero = np.zeros(1 << form.num_qubits, dtype=np.complex128)
    zero[0] = np.exp(1j * form.global_phase.value)
    branches = [Branch(zero, 1.0)]
    for operation in form.operations:
        if operation.kind in _IDLE or operation.terminal:
            continue
        branches = [after for branch in branches for after in _step(operation, branch)]
        if len(branches) > MAX_HISTORIES:
            raise AnalysisError("TOO_MANY_HISTORIES", f"more than {MAX_HISTORIES} histories of outcomes")
        if len(branches) << form.num_qubits > _MAX_AMPLITUDES:
            raise AnalysisError("TOO_MANY_HISTORIES", "the histories of outcomes do not fit into memory")
    return Ideal(branches, dynamic, terminals)


def _collapses(operation: circuit.Operation) -> bool:
    if operation.kind == circuit.OPERATION_KIND_SYNDROME:
        return len(operation.qubits) > 1
    return operation.kind == circuit.OPERATION_KIND_RESET or (
        operation.kind == circuit.OPERATION_KIND_MEASURE and not operation.terminal
    )


def _by_aer(form: circuit.Circuit) -> Vector:
    from qiskit_aer import AerSimulator

    quantum = QuantumCircuit(form.num_qubits, global_phase=form.global_phase.value)
    for operation in form.operations:
        qubits = list(operation.qubits)
        if operation.kind == circuit.OPERATION_KIND_GATE:
            gate = gate_of(operation.name, [p.value for p in operation.parameters])
            quantum.append(gate, qubits)
        elif operation.kind in _SWAPS:
            quantum.swap(*qubits)
    quantum = quantum.decompose(["bell_pair"])
    quantum.save_statevector()
    simulator = AerSimulator(method="statevector", max_parallel_threads=1, max_memory_mb=2048)
    result = simulator.run(_in_basis(quantum, simulator)).result()
    if not result.success:
        raise AnalysisError("ANALYZER_RESOURCE", "the simulation was refused, most likely for memory")
    return np.asarray(result.get_statevector().data, dtype=np.complex128)


def _in_basis(quantum: QuantumCircuit, simulator: object) -> QuantumCircuit:
    """The circuit with only instructions that Aer takes; transpiling is skipped where nothing has to change."""
    names = set(simulator.target.operation_names)  # type: ignore[attr-defined] # Aer is untyped
    if all(instruction.operation.name in names for instruction in quantum.data):
        return quantum
    from qiskit import transpile

    return transpile(quantum, simulator, optimization_level=0)


def apply(state: Vector, matrix: Vector, qubits: list[int]) -> Vector:
    """A gate on some qubits of a little-endian state."""
    n = state.size.bit_length() - 1
    k = len(qubits)
    # axis of qubit q is n - 1 - q; the gate's most significant operand comes first
    axes = [n - 1 - q for q in reversed(qubits)]
    tensor = np.moveaxis(state.reshape((2,) * n), axes, range(k)).reshape(1 << k, -1)
    moved = (matrix @ tensor).reshape((2,) * n)
    return np.moveaxis(moved, range(k), axes).reshape(-1)


def _step(operation: circuit.Operation, branch: Branch) -> list[Branch]:
    if operation.HasField("condition") and not holds(operation.condition, branch.bits):
        for write in operation.writes:
            branch.bits[write.version] = branch.bits.get(write.previous, False)
        return [branch]
    qubits = list(operation.qubits)
    if operation.kind == circuit.OPERATION_KIND_GATE:
        branch.state = apply(branch.state, unitary_of(operation), qubits)
        return [branch]
    if operation.kind in _SWAPS:
        branch.state = apply(branch.state, _SWAP, qubits)
        return [branch]
    if operation.kind == circuit.OPERATION_KIND_MEASURE:
        return _measure(branch, qubits[0], [write.version for write in operation.writes], flip=False)
    if operation.kind == circuit.OPERATION_KIND_RESET:
        return _measure(branch, qubits[0], [], flip=True)
    if operation.kind == circuit.OPERATION_KIND_SYNDROME and len(qubits) == 1:
        return [branch]
    raise AnalysisError("UNSUPPORTED_OPERATION", f"no ideal is known for {operation.name!r} on {len(qubits)} qubits")


_SWAP = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=np.complex128)
_X = np.array([[0, 1], [1, 0]], dtype=np.complex128)


def _measure(branch: Branch, qubit: int, versions: list[int], *, flip: bool) -> list[Branch]:
    view = branch.state.reshape(-1, 2, 1 << qubit)
    result = []
    for bit in (0, 1):
        part = np.zeros_like(view)
        part[:, bit, :] = view[:, bit, :]
        weight = float(np.sum(np.abs(part) ** 2))
        if weight < _EPSILON:
            continue
        state = part.reshape(-1) / np.sqrt(weight)
        if flip and bit:
            state = apply(state, _X, [qubit])
        bits = branch.bits | dict.fromkeys(versions, bool(bit))
        result.append(Branch(state, branch.probability * weight, bits))
    return result
