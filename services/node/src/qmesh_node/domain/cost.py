"""What a block costs to compute, estimated before it runs."""

from __future__ import annotations

from collections.abc import Sequence

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state
from qmesh_model.words import SYNDROME_CODES, SyndromeCode
from qmesh_node.domain.tableau import Part, Tableau

_SMALL = 1 << 14  # amplitudes that change in the time that a thread costs
_CALL = 64  # one operation on nothing, in amplitudes
_DRAW = 2  # one draw of one shot, in amplitudes
_GENERATOR = 4  # one operation on one generator, in amplitudes
_COLLAPSING = frozenset(
    [circuit.OPERATION_KIND_MEASURE, circuit.OPERATION_KIND_RESET, circuit.OPERATION_KIND_SYNDROME]
)


def is_small(request: gate.ExecuteRequest, inputs: Sequence[Part]) -> bool:
    """Whether a thread would cost more than the work."""
    return amplitudes_of(request, inputs) <= _SMALL


def amplitudes_of(request: gate.ExecuteRequest, inputs: Sequence[Part]) -> int:
    """Amplitudes that a block changes, at worst; noise makes a row of every shot."""
    widths = [len(e.wires) for e in inputs] + [len(output.wires) for output in request.outputs]
    qubits = max(widths or [len(request.fresh_wires)])
    rows, shots = max([e.rows for e in inputs], default=1), request.shots.count
    collapses = sum(not o.terminal and o.kind in _COLLAPSING for o in request.operations)
    noisy = request.HasField("noise")
    reads = sum(_reads(o) for o in request.operations)
    draws = reads + sum(_errors(o) for o in request.operations if noisy)
    if request.executor == state.EXECUTOR_KIND_STABILIZER and all(isinstance(e, Tableau) for e in inputs):
        return (
            len(request.operations) * (_CALL + _GENERATOR * qubits)
            + reads * qubits**2
            + draws * shots * _DRAW
        )
    rows = shots if noisy else min(shots, rows << min(collapses, 20))
    return len(request.operations) * (_CALL + (rows << min(qubits, 30))) + draws * shots * _DRAW


def _reads(operation: gate.NodeOperation) -> int:
    """Outcomes that are drawn, written or not."""
    if operation.kind == circuit.OPERATION_KIND_RESET:
        return 1
    code = _code(operation)
    return len(operation.writes) if code is None else code.num_bits


def _errors(operation: gate.NodeOperation) -> int:
    """Errors that are drawn for an operation: its own, twice for each wire that waited, and once for each pair that strikes it.

    Of a syndrome extraction those of its gates, resets, reads and corrections; of any other one, also a read or a reset, one.
    """
    code = _code(operation)
    own = 1 if code is None else code.num_cx + code.num_h + 2 * code.num_bits + code.num_qubits
    return own + 2 * len(operation.idle_ns) + len(operation.struck)


def _code(operation: gate.NodeOperation) -> SyndromeCode | None:
    known = operation.kind == circuit.OPERATION_KIND_SYNDROME
    return SYNDROME_CODES.get(len(operation.wires)) if known else None
