"""Figures of a circuit, for people and for choosing an executor."""

import math
from typing import Final

from qmesh_model import gates
from qmesh_model.circuit import Circuit, Kind, Operation
from qmesh_model.components import find_components
from qmesh_model.dag import depth
from qmesh_model.wires import track_wires

_QUARTER: Final = math.pi / 2
_TOLERANCE: Final = 1e-9


def is_clifford(circuit: Circuit) -> bool:
    """Whether a stabilizer executor can run every operation."""
    return all(op.kind is not Kind.GATE or _maps_paulis(op) for op in circuit.operations)


def _maps_paulis(operation: Operation) -> bool:
    """Whether a gate is Clifford; of several qubits only at multiples of a quarter turn, where its group ends."""
    values = gates.numeric(operation.parameters)
    if values is None or gates.GATES[operation.name].controls > 1:
        return False
    turns = [round(value / _QUARTER) for value in values]
    if all(abs(value - turn * _QUARTER) <= _TOLERANCE for value, turn in zip(values, turns, strict=True)):
        values = tuple(turn % 8 * _QUARTER for turn in turns)
    elif len(operation.qubits) > 1:
        return False
    return gates.is_clifford(operation.name, values)


def statistics_of(circuit: Circuit) -> dict[str, int | bool]:
    """Depth, gate counts, components."""
    parts = find_components(circuit, track_wires(circuit))
    unitary = [op for op in circuit.operations if op.kind in {Kind.GATE, Kind.SWAP, Kind.TELEPORT}]
    return {
        "qubits": circuit.num_qubits,
        "bits": circuit.num_bits,
        "operations": len(circuit.operations),
        "depth": depth(circuit),
        "two_qubit_gates": sum(1 for op in unitary if len(op.qubits) == 2),  # noqa: PLR2004 - as it says
        "wider_gates": sum(1 for op in unitary if len(op.qubits) > 2),  # noqa: PLR2004 - as it says
        "measurements": sum(1 for op in circuit.operations if op.kind is Kind.MEASURE),
        "conditioned": sum(1 for op in circuit.operations if op.condition is not None),
        "components": sum(1 for c in parts.all if c.final),
        "clifford": is_clifford(circuit),
    }
