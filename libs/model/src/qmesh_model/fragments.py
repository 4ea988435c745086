"""Fragments: maximal runs of operations of one service type on the same wires."""

from __future__ import annotations

from dataclasses import dataclass

from qmesh_model.circuit import Circuit
from qmesh_model.dag import dependencies
from qmesh_model.wires import WireTrack


@dataclass(slots=True)
class Fragment:
    """One fragment; together all fragments have every operation that needs a node, once."""

    number: int
    service_type: str
    wires: tuple[int, ...]
    qubits: tuple[int, ...]
    operations: list[int]
    dependencies: tuple[int, ...] = ()
    readout: bool = False


def find_fragments(circuit: Circuit, wires: WireTrack) -> list[Fragment]:
    """Fragments in the order of their first operations.

    A run goes on while nothing else touched its wires; conditions, classical writes and collapses begin a new one. A
    terminal measurement is a fragment of its own, part of its component's joint readout. Every edge leads to a
    fragment whose first operation is later.
    """
    fragments: list[Fragment] = []
    of_operation: dict[int, int] = {}
    last_on_wire: dict[int, int] = {}
    for operation, touched in zip(circuit.operations, wires.of_operation, strict=True):
        if not operation.needs_node:
            for wire in touched:
                last_on_wire.pop(wire, None)
            continue
        run = {last_on_wire.get(wire) for wire in touched}
        number = run.pop() if len(run) == 1 else None
        if (
            number is not None
            and not operation.terminal
            and not fragments[number].readout
            and fragments[number].service_type == operation.service_type
            and fragments[number].wires == touched
            and operation.condition is None
            and not operation.writes  # a later write may have to wait for another fragment: that would be a cycle
            and not operation.collapses  # its place among its component's collapses must stay free: same reason
        ):
            fragments[number].operations.append(operation.index)
            of_operation[operation.index] = number
            continue
        made = Fragment(
            len(fragments),
            operation.service_type,
            touched,
            operation.qubits,
            [operation.index],
            readout=operation.terminal,
        )
        fragments.append(made)
        of_operation[operation.index] = made.number
        for wire in touched:
            last_on_wire[wire] = made.number
    _connect(circuit, fragments, of_operation)
    return fragments


def _connect(circuit: Circuit, fragments: list[Fragment], of_operation: dict[int, int]) -> None:
    """Dependencies between fragments, through operations that need no node as well."""
    edges = dependencies(circuit)
    behind: list[frozenset[int]] = []
    for operation in circuit.operations:
        own = of_operation.get(operation.index)
        reached: set[int] = set()
        for need in edges[operation.index]:
            if need in of_operation:
                reached.add(of_operation[need])
            else:
                reached |= behind[need]
        behind.append(frozenset(reached))
        if own is not None:
            merged = set(fragments[own].dependencies) | reached
            fragments[own].dependencies = tuple(sorted(merged - {own}))
