"""What a program does, twice: by walking a `QuantumCircuit`, and by walking a normal form; exact over every branch.

Outcomes are the weighted states that each value of the classical bits leaves behind, as one density matrix a value.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import ClassicalRegister, Clbit, IfElseOp
from qiskit.circuit.classical import expr
from qiskit.quantum_info import Operator

from qmesh_model import gates
from qmesh_model.circuit import Circuit, Kind, Operation
from qmesh_model.conditions import evaluate

Array = NDArray[np.complex128]
Bits = tuple[int, ...]
type Branch = tuple[Bits, Array]
type Outcomes = dict[Bits, Array]

_SMALL = 1e-13
_MOST = 4096
_X = np.array([[0, 1], [1, 0]], dtype=complex)
_SWAP = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=complex)


class TooManyBranchesError(Exception):
    """The program has more branches than are worth a test."""


def applied(state: Array, matrix: Array, qubits: Sequence[int]) -> Array:
    """A matrix on qubits of the first axis of an array, little-endian; the first qubit is the matrix's least significant."""
    n, width = state.shape[0].bit_length() - 1, len(qubits)
    axes = [n - 1 - qubit for qubit in reversed(qubits)]
    tensor = np.moveaxis(state.reshape((2,) * n + (-1,)), axes, range(width))
    shape = tensor.shape
    tensor = (matrix @ tensor.reshape(1 << width, -1)).reshape(shape)
    moved: Array = np.moveaxis(tensor, range(width), axes).reshape(state.shape)
    return moved


def _halves(state: Array, qubit: int) -> Iterable[tuple[int, Array]]:
    ones = (np.arange(len(state)) >> qubit) & 1
    for value in (0, 1):
        part = np.where(ones == value, state, 0)
        if np.vdot(part, part).real > _SMALL:
            yield value, part


def _measured(branch: Branch, qubit: int, bit: int) -> list[Branch]:
    bits, state = branch
    return [((*bits[:bit], value, *bits[bit + 1 :]), part) for value, part in _halves(state, qubit)]


def _reset(branch: Branch, qubit: int) -> list[Branch]:
    bits, state = branch
    return [(bits, applied(part, _X, [qubit]) if value else part) for value, part in _halves(state, qubit)]


def _outcomes(branches: Sequence[Branch]) -> Outcomes:
    found: Outcomes = defaultdict(lambda: np.zeros((1, 1), dtype=complex))
    for bits, state in branches:
        found[bits] = found[bits] + np.outer(state, state.conj())
    return dict(found)


def _start(qubits: int, bits: int) -> list[Branch]:
    state = np.zeros(1 << qubits, dtype=complex)
    state[0] = 1
    return [((0,) * bits, state)]


# -- a QuantumCircuit ------------------------------------------------------------------------------------------------


def _dense(instruction: Any) -> Array:
    found: Array = np.asarray(Operator(instruction).data)
    return found


@lru_cache(maxsize=4096)
def _standard(name: str, kind: type, params: tuple[float, ...]) -> Array:
    del name
    return _dense(kind(*params))


def matrix_of(instruction: Any) -> Array:
    """Matrix of a Qiskit gate."""
    params = tuple(instruction.params)
    plain = getattr(instruction, "ctrl_state", None) is None
    if plain and instruction.label is None and all(isinstance(p, float) for p in params):
        try:
            known: Array = _standard(instruction.name, instruction.base_class, params)
        except TypeError:
            pass
        else:
            return known
    return _dense(instruction)


def qiskit_unitary(circuit: QuantumCircuit) -> Array:
    """Unitary of a circuit without measurement, global phase included."""
    found: Array = np.eye(1 << circuit.num_qubits, dtype=complex) * np.exp(1j * float(circuit.global_phase))
    for item in circuit.data:
        if item.operation.name not in {"barrier", "delay"}:
            found = applied(
                found, matrix_of(item.operation), [circuit.find_bit(q).index for q in item.qubits]
            )
    return found


def qiskit_outcomes(circuit: QuantumCircuit) -> Outcomes:
    """Outcomes of a circuit, dynamic or not.

    Raises:
        TooManyBranchesError: when there are too many.
    """
    qubits = {qubit: index for index, qubit in enumerate(circuit.qubits)}
    bits = {bit: index for index, bit in enumerate(circuit.clbits)}
    return _outcomes(_walk(circuit, _start(len(qubits), len(bits)), qubits, bits))


def _walk(
    circuit: QuantumCircuit,
    branches: list[Branch],
    qubits: Mapping[Any, int],
    bits: Mapping[Any, int],
) -> list[Branch]:
    for item in circuit.data:
        operation = item.operation
        where = [qubits[q] for q in item.qubits]
        if isinstance(operation, IfElseOp):
            branches = _branch(operation, item, branches, qubits, bits)
        elif operation.name == "measure":
            branches = [b for one in branches for b in _measured(one, where[0], bits[item.clbits[0]])]
        elif operation.name == "reset":
            branches = [b for one in branches for b in _reset(one, where[0])]
        elif operation.name not in {"barrier", "delay"}:
            matrix = matrix_of(operation)
            branches = [(have, applied(state, matrix, where)) for have, state in branches]
        if len(branches) > _MOST:
            raise TooManyBranchesError
    return branches


def _branch(
    operation: IfElseOp,
    item: Any,
    branches: list[Branch],
    qubits: Mapping[Any, int],
    bits: Mapping[Any, int],
) -> list[Branch]:
    found: list[Branch] = []
    for one in branches:
        holds = _holds(operation.condition, partial(_bit, one[0], bits))
        block = operation.blocks[0] if holds else (operation.blocks[1] if len(operation.blocks) > 1 else None)
        if block is None:
            found.append(one)
            continue
        inner_qubits = {mine: qubits[outer] for mine, outer in zip(block.qubits, item.qubits, strict=True)}
        inner_bits = {mine: bits[outer] for mine, outer in zip(block.clbits, item.clbits, strict=True)}
        found += _walk(block, [one], inner_qubits, inner_bits | dict(bits))
    return found


def _bit(have: Bits, places: Mapping[Any, int], bit: Any) -> bool:
    return bool(have[places[bit]])


def _value(register: ClassicalRegister, bit: Callable[[Any], bool]) -> int:
    return sum(bit(one) << place for place, one in enumerate(register))


_BINARY: Mapping[str, Callable[[Any, Any], Any]] = {
    "BIT_AND": lambda a, b: a & b,
    "BIT_OR": lambda a, b: a | b,
    "BIT_XOR": lambda a, b: a ^ b,
    "LOGIC_AND": lambda a, b: bool(a) and bool(b),
    "LOGIC_OR": lambda a, b: bool(a) or bool(b),
    "EQUAL": lambda a, b: a == b,
    "NOT_EQUAL": lambda a, b: a != b,
    "LESS": lambda a, b: a < b,
    "LESS_EQUAL": lambda a, b: a <= b,
    "GREATER": lambda a, b: a > b,
    "GREATER_EQUAL": lambda a, b: a >= b,
}


def _holds(condition: Any, bit: Callable[[Any], bool]) -> bool:
    if isinstance(condition, tuple):
        target, value = condition
        have = bit(target) if isinstance(target, Clbit) else _value(target, bit)
        return bool(have == value)
    return bool(_evaluated(condition, bit))


def _evaluated(node: Any, bit: Callable[[Any], bool]) -> Any:
    if isinstance(node, expr.Var):
        return bit(node.var) if isinstance(node.var, Clbit) else _value(node.var, bit)
    if isinstance(node, expr.Value):
        return node.value
    if isinstance(node, expr.Cast):
        return _evaluated(node.operand, bit)
    if isinstance(node, expr.Index):
        return bool(_evaluated(node.target, bit) >> _evaluated(node.index, bit) & 1)
    if isinstance(node, expr.Unary):
        operand = _evaluated(node.operand, bit)
        width = getattr(node.type, "width", 1)
        return not operand if node.op.name == "LOGIC_NOT" else operand ^ ((1 << width) - 1)
    return _BINARY[node.op.name](_evaluated(node.left, bit), _evaluated(node.right, bit))


# -- a normal form ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _catalogue(name: str, params: tuple[float, ...]) -> Array:
    found: Array = np.array(gates.matrix(name, params))
    return found


def _unitary(operation: Operation) -> Array | None:
    if operation.kind in {Kind.SWAP, Kind.TELEPORT}:
        return _SWAP
    if operation.kind is Kind.GATE:
        values = gates.numeric(operation.parameters)
        assert values is not None
        known: Array = _catalogue(operation.name, values)
        return known
    return None


def form_unitary(circuit: Circuit) -> Array:
    """Unitary of a normal form without measurement, global phase included."""
    assert isinstance(circuit.global_phase, float)
    found: Array = np.eye(1 << circuit.num_qubits, dtype=complex) * np.exp(1j * circuit.global_phase)
    for operation in circuit.operations:
        matrix = _unitary(operation)
        if matrix is not None:
            found = applied(found, matrix, operation.qubits)
    return found


def form_outcomes(circuit: Circuit) -> Outcomes:
    """Outcomes of a normal form, by versions of bits and conditions over them."""
    branches: list[Branch] = _start(circuit.num_qubits, circuit.num_versions)
    for operation in circuit.operations:
        found: list[Branch] = []
        for one in branches:
            found += _followed(one, operation)
        branches = found
    final = circuit.final_versions
    return _outcomes([(tuple(0 if v < 0 else have[v] for v in final), state) for have, state in branches])


def _followed(one: Branch, operation: Operation) -> list[Branch]:
    have, state = one
    condition = operation.condition
    if condition is not None and not evaluate(condition, lambda version: bool(have[version])):
        for write in operation.writes:
            kept = 0 if write.previous < 0 else have[write.previous]
            have = (*have[: write.version], kept, *have[write.version + 1 :])
        return [(have, state)]
    if operation.kind is Kind.MEASURE:
        return _measured(one, operation.qubits[0], operation.writes[0].version)
    if operation.kind is Kind.RESET:
        return _reset(one, operation.qubits[0])
    matrix = _unitary(operation)
    return [(have, state if matrix is None else applied(state, matrix, operation.qubits))]


def difference(circuit: QuantumCircuit, form: Circuit, *, dynamic: bool) -> float:
    """Largest difference of any element: of the two unitaries, or of the outcomes of dynamic programs.

    Raises:
        TooManyBranchesError: when there are too many branches.
    """
    if dynamic:
        return distance(qiskit_outcomes(circuit), form_outcomes(form))
    return float(np.abs(qiskit_unitary(circuit) - form_unitary(form)).max())


def distance(one: Outcomes, other: Outcomes) -> float:
    """Largest difference of any element of any outcome's density matrix."""
    zero = np.zeros((1, 1))
    keys = set(one) | set(other)
    return max((float(np.abs(one.get(k, zero) - other.get(k, zero)).max()) for k in keys), default=0.0)
