"""Figures of a circuit, for people and for choosing an executor."""

from qmesh_model import gates
from qmesh_model.circuit import Circuit, Kind
from qmesh_model.components import find_components
from qmesh_model.dag import depth
from qmesh_model.wires import track_wires


def is_clifford(circuit: Circuit) -> bool:
    """Whether a stabilizer executor can run every operation."""
    for operation in circuit.operations:
        if operation.kind is Kind.GATE:
            values = gates.numeric(operation.parameters)
            if values is None or not gates.is_clifford(operation.name, values):
                return False
    return True


def statistics_of(circuit: Circuit) -> dict[str, int | bool]:
    """Depth, gate counts, components."""
    parts = find_components(circuit, track_wires(circuit))
    unitary = [op for op in circuit.operations if op.kind in {Kind.GATE, Kind.SWAP, Kind.TELEPORT}]
    return {
        "qubits": circuit.num_qubits,
        "bits": circuit.num_bits,
        "operations": len(circuit.operations),
        "depth": depth(circuit),
        "two_qubit_gates": sum(1 for op in unitary if len(op.qubits) > 1),
        "measurements": sum(1 for op in circuit.operations if op.kind is Kind.MEASURE),
        "conditioned": sum(1 for op in circuit.operations if op.condition is not None),
        "components": sum(1 for c in parts.all if c.final),
        "clifford": is_clifford(circuit),
    }
