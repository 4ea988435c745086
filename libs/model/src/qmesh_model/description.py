"""What the mesh understands of a circuit, as one JSON document: for `qmesh validate` and POST /circuits/validate."""

from __future__ import annotations

from typing import Any

from qmesh_model.circuit import Circuit, Operation, Register
from qmesh_model.components import find_components
from qmesh_model.dag import dependencies
from qmesh_model.parameters import Expression, Parameter, render
from qmesh_model.statistics import statistics_of
from qmesh_model.wires import track_wires


def describe(circuit: Circuit) -> dict[str, Any]:
    """Operations with their dependencies, registers, components, statistics, warnings and digest."""
    edges = dependencies(circuit)
    components = find_components(circuit, track_wires(circuit))
    return {
        "valid": True,
        "diagnostics": [warning.document() for warning in circuit.warnings],
        "language": circuit.language,
        "qubits": circuit.num_qubits,
        "bits": circuit.num_bits,
        "qubit_registers": [_register(register) for register in circuit.qubit_registers],
        "bit_registers": [_register(register) for register in circuit.bit_registers],
        "parameters": list(circuit.symbols),
        "global_phase": _value(circuit.global_phase),
        "operations": [_operation(op, needs) for op, needs in zip(circuit.operations, edges, strict=True)],
        "components": [list(c.wires) for c in components.all if c.final],
        "digest": circuit.digest.hex(),
        "statistics": statistics_of(circuit),
    }


def _register(register: Register) -> dict[str, Any]:
    return {"name": register.name, "size": register.size, "offset": register.offset}


def _value(parameter: Parameter) -> float | str:
    return render(parameter) if isinstance(parameter, Expression) else parameter


def _operation(operation: Operation, needs: tuple[int, ...]) -> dict[str, Any]:
    condition = operation.condition
    return {
        "index": operation.index,
        "kind": operation.kind.name.lower(),
        "name": operation.name,
        "service_type": operation.service_type or None,
        "qubits": list(operation.qubits),
        "parameters": [_value(parameter) for parameter in operation.parameters],
        "bits": [write.bit for write in operation.writes],
        "conditioned": condition is not None,
        "terminal": operation.terminal,
        "depends_on": list(needs),
        "line": operation.span.line,
        "column": operation.span.column,
    }
