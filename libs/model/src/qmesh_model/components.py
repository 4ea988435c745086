"""Components: wires whose amplitudes are stored together because they have interacted; decided by the circuit alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from qmesh_model.circuit import Circuit, Kind
from qmesh_model.wires import WireTrack


@dataclass(slots=True)
class Component:
    """One component; a merge makes a new one."""

    number: int
    wires: tuple[int, ...]
    merged_from: tuple[int, ...] = ()
    operations: list[int] = field(default_factory=list)
    readout: list[int] = field(default_factory=list)
    final: bool = True


@dataclass(frozen=True, slots=True)
class Components:
    """All components, and the one that each operation leaves behind (-1: the operation touches none)."""

    all: tuple[Component, ...]
    of_operation: tuple[int, ...]


def find_components(circuit: Circuit, wires: WireTrack) -> Components:
    """Walks the circuit once; numbers are deterministic.

    A component is born with the first operation on a wire. Terminal measurements belong to the joint readout of the
    component that lives to the end. Teleportation touches the components of both wires without joining them: it is
    listed with the first one's operations, and of_operation names that.
    """
    components: list[Component] = []
    current: dict[int, int] = {}
    left: list[int] = []

    def of_wire(wire: int) -> int:
        if wire not in current:
            components.append(Component(len(components), (wire,)))
            current[wire] = len(components) - 1
        return current[wire]

    terminals: list[tuple[int, int]] = []
    for operation, touched in zip(circuit.operations, wires.of_operation, strict=True):
        if not operation.needs_node:
            left.append(-1)
            continue
        if operation.terminal:
            of_wire(touched[0])
            terminals.append((operation.index, touched[0]))
            left.append(-1)
            continue
        parts = list(dict.fromkeys(of_wire(wire) for wire in touched))
        if operation.kind is Kind.TELEPORT or len(parts) == 1:
            for number in parts:
                components[number].operations.append(operation.index)
            left.append(parts[0])
            continue
        merged = Component(
            len(components),
            tuple(sorted(wire for number in parts for wire in components[number].wires)),
            tuple(parts),
            [operation.index],
        )
        components.append(merged)
        for number in parts:
            components[number].final = False
        for wire in merged.wires:
            current[wire] = merged.number
        left.append(merged.number)
    for index, wire in terminals:
        number = current[wire]
        components[number].readout.append(index)
        left[index] = number
    return Components(tuple(components), tuple(left))
