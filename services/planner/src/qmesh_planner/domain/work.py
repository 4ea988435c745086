"""What a circuit asks of nodes: tasks on wires, and how each operand of each operation can be reached remotely."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from qmesh_model import gates
from qmesh_model.circuit import Circuit, Kind, Operation
from qmesh_model.components import Components, find_components
from qmesh_model.fragments import Fragment, find_fragments
from qmesh_model.wires import WireTrack, track_wires


class Reach(Enum):
    """How an operand of a multi-qubit operation is served when its home is elsewhere (physics.md section 2)."""

    SHARED = "diagonal: a cat copy serves every gate of the packet"
    SPLIT_SHARED = "a local gate first, then as SHARED"
    SINGLE = "diagonal after a local gate: a cat copy serves this gate alone"
    THERE_AND_BACK = "two teleportations"
    BROUGHT = "the home moves"


@dataclass(frozen=True, slots=True)
class Step:
    """One operation inside a task."""

    operation: int
    wires: tuple[int, ...]
    reaches: tuple[Reach, ...]
    splits: bool


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
    """Everything that follows from the circuit alone."""

    circuit: Circuit
    track: WireTrack
    components: Components
    fragments: tuple[Fragment, ...]
    tasks: tuple[Task, ...]
    wires: tuple[int, ...]


def work_of(circuit: Circuit) -> Work:
    """Normal form to tasks; independent of the values of parameters."""
    track = track_wires(circuit)
    fragments = tuple(find_fragments(circuit, track))
    tasks = tuple(_task(circuit, track, fragment) for fragment in fragments)
    wires = sorted({wire for task in tasks for wire in task.wires})
    return Work(circuit, track, find_components(circuit, track), fragments, tasks, tuple(wires))


def _task(circuit: Circuit, track: WireTrack, fragment: Fragment) -> Task:
    operations = [circuit.operations[index] for index in fragment.operations]
    steps = tuple(
        Step(op.index, track.of_operation[op.index], _reaches(op), _splits(op)) for op in operations
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


def _reaches(operation: Operation) -> tuple[Reach, ...]:
    width = len(operation.qubits)
    if width == 1:
        return ()
    if operation.kind is Kind.SYNDROME:
        return (Reach.BROUGHT,) * width
    if operation.kind is not Kind.GATE:
        return (Reach.THERE_AND_BACK,) * width
    if operation.name == "bell_pair":
        return (Reach.SPLIT_SHARED, Reach.SINGLE)
    diagonal = gates.diagonal_operands(operation.name)
    # A controlled one-qubit gate is diagonal after a change of basis on its target; so are rxx and ryy on both.
    simple = sum(not flag for flag in diagonal) == 1 or operation.name in {"rxx", "ryy"}
    other = Reach.SINGLE if simple else Reach.THERE_AND_BACK
    return tuple(Reach.SHARED if flag else other for flag in diagonal)
