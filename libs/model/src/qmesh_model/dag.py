"""Dependencies between operations: shared qubits, and classical bits."""

from __future__ import annotations

from collections.abc import Callable

from qmesh_model import gates, matrices
from qmesh_model.circuit import Circuit, Kind, Operation
from qmesh_model.parameters import Expression


def dependencies(circuit: Circuit) -> tuple[tuple[int, ...], ...]:
    """For each operation the earlier operations that it directly depends on, ascending.

    There is an edge for every shared qubit, from every write of a bit to its readers (conditions and conditional
    writes), and from one write of a bit to the next.
    """
    last_on_qubit: dict[int, int] = {}
    writer: dict[int, int] = {}
    result = []
    for operation in circuit.operations:
        needs = {last_on_qubit[q] for q in operation.qubits if q in last_on_qubit}
        if operation.condition is not None:
            needs |= {writer[v] for v in operation.condition.versions}
        for write in operation.writes:
            if write.previous >= 0:
                needs.add(writer[write.previous])
            writer[write.version] = operation.index
        for qubit in operation.qubits:
            last_on_qubit[qubit] = operation.index
        result.append(tuple(sorted(needs - {operation.index})))
    return tuple(result)


def depth(circuit: Circuit) -> int:
    """Longest chain of operations that do something."""
    levels: list[int] = []
    edges = dependencies(circuit)
    for operation, needs in zip(circuit.operations, edges, strict=True):
        cost = 0 if operation.kind in {Kind.BARRIER, Kind.DELAY} else 1
        levels.append(cost + max((levels[n] for n in needs), default=0))
    return max(levels, default=0)


def commute(a: Operation, b: Operation) -> bool:
    """Whether two unconditioned unitaries provably commute: both are diagonal on every shared qubit.

    Never true for anything that touches a measurement, reset, syndrome or condition.
    """
    for operation in (a, b):
        if operation.kind is not Kind.GATE or operation.condition is not None:
            return False
        if any(isinstance(p, Expression) for p in operation.parameters):
            return False
    shared = set(a.qubits) & set(b.qubits)
    return all(_diagonal(a)(q) and _diagonal(b)(q) for q in shared)


def _diagonal(operation: Operation) -> Callable[[int], bool]:
    values = tuple(p for p in operation.parameters if not isinstance(p, Expression))
    matrix = gates.matrix(operation.name, values)
    return lambda qubit: matrices.is_diagonal_on(matrix, operation.qubits.index(qubit))
