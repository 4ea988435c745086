"""Which components are kept as stabilizer states: those that see only what a tableau can express, where that pays."""

from __future__ import annotations

from qmesh_model import gates
from qmesh_model.circuit import Circuit, Kind, Operation
from qmesh_model.components import Components

WIDE = 12
"""Qubits from which a tableau is faster than amplitudes, whatever the noise."""
MOST_AMPLITUDES = 22
"""Qubits of a circuit above which nobody looks at amplitudes: then narrow components are stabilizer states, too."""
_WIDEST_GATE = 2
_PAULIS = frozenset({"id", "x", "y", "z"})


def stabilizer_components(circuit: Circuit, components: Components) -> frozenset[int]:
    """Numbers of components that are wide, or of a wide circuit, and Clifford from their first operation to the end of what they become."""
    final = list(range(len(components.all)))
    for component in reversed(components.all):
        for part in component.merged_from:
            final[part] = final[component.number]
    least = 1 if circuit.num_qubits > MOST_AMPLITUDES else WIDE
    wide = {c.number for c in components.all if c.final and len(c.wires) >= least}
    for component in components.all:
        root = final[component.number]
        if root in wide and not all(expressible(circuit.operations[index]) for index in component.operations):
            wide.discard(root)
    return frozenset(number for number, root in enumerate(final) if root in wide)


def expressible(operation: Operation) -> bool:
    """Whether a tableau that all histories share can express an operation.

    Noise adds Pauli errors only, which change signs; so do corrections of syndromes, and conditioned Pauli gates.
    """
    if operation.kind is not Kind.GATE:
        return operation.condition is None
    if operation.condition is not None:
        return operation.name in _PAULIS
    if len(operation.qubits) > _WIDEST_GATE:
        return False
    values = gates.numeric(operation.parameters)
    return values is not None and gates.is_clifford(operation.name, values)
