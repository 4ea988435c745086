"""Follows Clifford circuits by generators instead of amplitudes: their ideal, with every classical bit as an affine function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh_analyzer.domain.codes import CODES
from qmesh_analyzer.domain.errors import AnalysisError
from qmesh_analyzer.domain.gates import SWAP, unitary_of
from qmesh_analyzer.domain.ideal import IDLE, SWAPS, collapses
from qmesh_analyzer.domain.stabilizer import Affine, Stabilizer, is_clifford

MAX_QUBITS = 400
_PAULIS = {"id": "", "x": "X", "y": "Y", "z": "Z"}
_EQUALITY = {circuit.COMPARISON_EQUAL: False, circuit.COMPARISON_NOT_EQUAL: True}


@dataclass(frozen=True, slots=True)
class CliffordIdeal:
    """What a Clifford circuit means.

    Attributes:
        state: before the terminal measurements; signs follow the outcomes before them.
        bits: value of each version that was written, terminal ones included.
        recorded: versions of bits that mid-circuit measurements wrote.
        dynamic: outcomes or conditions leave no single state.
    """

    state: Stabilizer
    bits: dict[int, Affine]
    recorded: tuple[int, ...]
    dynamic: bool


def clifford_ideal(form: circuit.Circuit) -> CliffordIdeal | None:
    """The ideal by generators; None when the circuit does something that they cannot express.

    Raises:
        AnalysisError: the circuit makes no sense.
    """
    if form.num_qubits > MAX_QUBITS or not all(_expressible(op) for op in form.operations):
        return None
    state, bits = Stabilizer(form.num_qubits), dict[int, Affine]()
    terminal = []
    try:
        for operation in form.operations:
            if operation.terminal:
                terminal.append(operation)
            elif operation.kind not in IDLE:
                _step(state, bits, operation)
    except _NotAffineError:
        return None
    recorded = tuple(sorted(bits))
    work = state.copy()
    for operation in terminal:
        bits[operation.writes[0].version] = work.measure(*work.one(operation.qubits[0], "Z"))
    dynamic = any(collapses(op) or op.HasField("condition") for op in form.operations)
    return CliffordIdeal(state, bits, recorded, dynamic)


class _NotAffineError(Exception):
    """A condition that is no sum of outcomes."""


def _expressible(operation: circuit.Operation) -> bool:
    if operation.kind == circuit.OPERATION_KIND_GATE:
        if operation.HasField("condition"):
            return operation.name in _PAULIS
        return len(operation.qubits) <= 2 and is_clifford(unitary_of(operation))  # noqa: PLR2004 - what is looked up
    if operation.HasField("condition"):
        return False
    if operation.kind == circuit.OPERATION_KIND_SYNDROME:
        code = CODES.get(len(operation.qubits))
        return len(operation.qubits) == 1 or (code is not None and not code.corrects)
    return True


def _step(state: Stabilizer, bits: dict[int, Affine], operation: circuit.Operation) -> None:
    qubits = list(operation.qubits)
    if operation.kind == circuit.OPERATION_KIND_GATE:
        if operation.HasField("condition"):
            letter = _PAULIS[operation.name]
            if letter:
                state.flip(*state.one(qubits[0], letter), _truth(operation.condition, bits))
        else:
            state.apply(unitary_of(operation), qubits)
    elif operation.kind in SWAPS:
        state.apply(SWAP, qubits)
    elif operation.kind == circuit.OPERATION_KIND_MEASURE:
        bits[operation.writes[0].version] = state.measure(*state.one(qubits[0], "Z"))
    elif operation.kind == circuit.OPERATION_KIND_RESET:
        state.flip(*state.one(qubits[0], "X"), state.measure(*state.one(qubits[0], "Z")))
    elif operation.kind == circuit.OPERATION_KIND_SYNDROME and len(qubits) > 1:
        found = [
            state.measure(_mask(state.n, flips, qubits), _mask(state.n, phases, qubits))
            for flips, phases in CODES[len(qubits)].checks
        ]
        for write, bit in zip(operation.writes, found, strict=False):
            bits[write.version] = bit
    elif operation.kind != circuit.OPERATION_KIND_SYNDROME:
        raise AnalysisError("UNSUPPORTED_OPERATION", f"no ideal is known for {operation.name!r}")


def _mask(n: int, mask: int, qubits: Sequence[int]) -> np.ndarray:
    made = np.zeros(n, dtype=np.bool_)
    made[[qubit for place, qubit in enumerate(qubits) if mask >> place & 1]] = True
    return made


def _truth(condition: circuit.Condition, bits: dict[int, Affine]) -> Affine:
    """A condition as a sum of outcomes.

    Raises:
        _NotAffineError: it is none, for example the conjunction of two outcomes.
    """
    stack: list[Affine] = []
    try:
        for token in condition.tokens:
            kind = token.WhichOneof("token")
            if kind == "version":
                stack.append(bits.get(token.version, Affine()))
            elif kind == "comparison":
                stack.append(
                    _equality(token.comparison, [bits.get(v, Affine()) for v in token.comparison.versions])
                )
            elif token.operator == circuit.LOGICAL_OPERATOR_NOT:
                stack.append(stack.pop() ^ Affine(constant=True))
            elif token.operator == circuit.LOGICAL_OPERATOR_XOR:
                stack.append(stack.pop() ^ stack.pop())
            else:
                raise _NotAffineError
        (result,) = stack
    except (IndexError, ValueError):
        raise AnalysisError("INVALID_ARGUMENT", "a condition is no expression over bits") from None
    return result


def _equality(comparison: circuit.RegisterComparison, values: list[Affine]) -> Affine:
    """Whether a register has a value, when at most one of its bits is random."""
    negated = _EQUALITY.get(comparison.comparison)
    random = [(place, bit) for place, bit in enumerate(values) if bit.symbols]
    if negated is None or len(random) > 1:
        raise _NotAffineError
    fixed = sum(bit.constant << place for place, bit in enumerate(values) if not bit.symbols)
    place, free = random[0] if random else (0, Affine(constant=True))
    if fixed != comparison.value & ~(1 << place if random else 0):
        return Affine(constant=negated)
    wanted = bool(comparison.value >> place & 1) if random else True
    return free ^ Affine(constant=negated ^ (not wanted))
