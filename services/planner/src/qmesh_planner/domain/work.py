"""What a circuit asks of nodes: tasks on wires, and how each operand of each operation can be reached remotely."""

from __future__ import annotations

from dataclasses import dataclass

from qmesh_model import gates
from qmesh_model.circuit import Circuit, Kind, Operation
from qmesh_model.components import Components, find_components
from qmesh_model.fragments import Fragment, find_fragments
from qmesh_model.reach import Reach, reaches
from qmesh_model.wires import WireTrack, track_wires
from qmesh_model.words import DISTILLATION_NAMES


@dataclass(frozen=True, slots=True)
class Step:
    """One operation inside a task.

    Attributes:
        operation: index in the normal form.
        wires: its wires.
        reaches: how each of several operands is served when its home is elsewhere.
        splits: it ends the cat copies of its wire.
        purifies: protocol with which the next pair of its wire is purified, once more; empty for other operations.
    """

    operation: int
    wires: tuple[int, ...]
    reaches: tuple[Reach, ...]
    splits: bool
    purifies: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """One fragment as placement sees it; tasks have the numbers of their fragments."""

    number: int
    service_type: str
    wires: tuple[int, ...]
    gates: frozenset[str]
    steps: tuple[Step, ...]
    readout: bool
    teleports: bool

    @property
    def operands(self) -> int:
        """Width of the fragment."""
        return len(self.wires)


@dataclass(frozen=True, slots=True)
class Work:
    """Everything that follows from the circuit alone; `delays` are nanoseconds asked for before an operation, by wire."""

    circuit: Circuit
    track: WireTrack
    components: Components
    fragments: tuple[Fragment, ...]
    tasks: tuple[Task, ...]
    wires: tuple[int, ...]
    delays: dict[int, dict[int, int]]


def work_of(circuit: Circuit) -> Work:
    """Normal form to tasks; independent of the values of parameters."""
    track = track_wires(circuit)
    fragments = tuple(find_fragments(circuit, track))
    tasks = tuple(_task(circuit, track, fragment) for fragment in fragments)
    wires = sorted({wire for task in tasks for wire in task.wires})
    components = find_components(circuit, track)
    return Work(circuit, track, components, fragments, tasks, tuple(wires), _delays(circuit, track))


def _delays(circuit: Circuit, track: WireTrack) -> dict[int, dict[int, int]]:
    waiting: dict[int, int] = {}
    found: dict[int, dict[int, int]] = {}
    for operation, wires in zip(circuit.operations, track.of_operation, strict=True):
        if operation.kind is Kind.DELAY:
            (seconds,) = gates.numeric(operation.parameters) or (0.0,)
            for wire in wires:
                waiting[wire] = waiting.get(wire, 0) + round(seconds * 1e9)
        elif operation.needs_node:
            due = {wire: waiting.pop(wire) for wire in wires if wire in waiting}
            if due:
                found[operation.index] = due
    return found


def _task(circuit: Circuit, track: WireTrack, fragment: Fragment) -> Task:
    operations = [circuit.operations[index] for index in fragment.operations]
    steps = tuple(
        Step(
            op.index,
            track.of_operation[op.index],
            reaches(op.kind, op.name, len(op.qubits)),
            _splits(op),
            _protocol(op),
        )
        for op in operations
    )
    return Task(
        fragment.number,
        fragment.service_type,
        fragment.wires,
        frozenset(op.name for op in operations),
        steps,
        fragment.readout,
        any(op.kind is Kind.TELEPORT for op in operations),
    )


def _protocol(operation: Operation) -> str:
    """Purification that an operation orders."""
    names = {name: protocol for protocol, name in DISTILLATION_NAMES.items()}
    return names[operation.name] if operation.kind is Kind.DISTILLATION else ""


def _splits(operation: Operation) -> bool:
    """Whether a one-qubit operation ends the cat copies of its wire."""
    if len(operation.qubits) > 1:
        return False
    if operation.kind is not Kind.GATE:
        return operation.kind is not Kind.SYNDROME
    values = gates.numeric(operation.parameters)
    if values is None:
        return not gates.is_diagonal(operation.name)
    return gates.splits_segment(operation.name, values)
