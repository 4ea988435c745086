"""One block as a node executes it, and the rules that its operations obey whatever came before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.fabric.v1 import state_pb2 as state
from qmesh_model.reach import Reach
from qmesh_node.domain import kernels
from qmesh_node.domain.bits import condition_of
from qmesh_node.domain.errors import InvalidBlockError
from qmesh_node.domain.links import served
from qmesh_node.domain.randomness import Draws
from qmesh_node.domain.syndrome import CODES

_WIDTHS = {
    circuit.OPERATION_KIND_MEASURE: 1,
    circuit.OPERATION_KIND_RESET: 1,
    circuit.OPERATION_KIND_TELEPORT: 2,
}
_IDLE = frozenset(
    [
        circuit.OPERATION_KIND_BARRIER,
        circuit.OPERATION_KIND_DELAY,
        circuit.OPERATION_KIND_DISTILLATION,
    ]
)
_STRIKES = frozenset(["cat", "kept", "teleport"])
_COPIED = frozenset([Reach.SHARED, Reach.SPLIT_SHARED, Reach.SINGLE])
_ROUNDING = 1e-9
_KINDS = _IDLE | {circuit.OPERATION_KIND_GATE, circuit.OPERATION_KIND_SYNDROME, *_WIDTHS}


@dataclass(frozen=True, slots=True)
class Block:
    """What is to be executed, apart from where it came from and who asks; `stabilizer`: so fresh wires begin."""

    operations: Sequence[gate.NodeOperation]
    fragments: Sequence[gate.FragmentHeader]
    outputs: Sequence[gate.OutputComponent]
    fresh_wires: Sequence[int]
    draws: Draws
    profile: gate.NoiseProfile | None = None
    precision: state.Precision.ValueType = state.PRECISION_DOUBLE
    deadline: float = math.inf
    stabilizer: bool = False


def check(block: Block) -> None:
    """Refuses what no plan contains.

    Raises:
        InvalidBlockError: an operation, a write, an output or a rate makes no sense.
    """
    written: set[int] = set()
    read: set[int] = set()
    for operation in block.operations:
        _check_operation(operation, len(block.fragments))
        if operation.kind not in _IDLE and not read.isdisjoint(operation.wires):
            raise InvalidBlockError(f"operation {operation.index} touches a wire after its terminal read")
        if operation.terminal:
            read.update(operation.wires)
        for write in operation.writes:
            if write.version in written:
                raise InvalidBlockError(f"bit version {write.version} is written twice")
            written.add(write.version)
    names = [(output.component, output.position) for output in block.outputs]
    wires = [wire for output in block.outputs for wire in output.wires]
    if len(set(names)) != len(names) or len(set(wires)) != len(wires):
        raise InvalidBlockError("two outputs have one name, or share a wire")
    if block.profile is not None:
        _check_profile(block.profile)


def _check_operation(operation: gate.NodeOperation, fragments: int) -> None:
    kind, wires = operation.kind, operation.wires
    name = f"operation {operation.index}"
    if operation.fragment >= fragments:
        raise InvalidBlockError(f"{name} names fragment {operation.fragment}, there are {fragments}")
    if kind not in _KINDS:
        raise InvalidBlockError(f"{name} has a kind that no node executes")
    if len(set(wires)) != len(wires) or (not wires and kind not in _IDLE):
        raise InvalidBlockError(f"{name} names no wire, or one wire twice")
    if kind in _WIDTHS and len(wires) != _WIDTHS[kind]:
        raise InvalidBlockError(f"{name} takes {_WIDTHS[kind]} wires, not {len(wires)}")
    if any(not math.isfinite(value) for value in operation.parameters):
        raise InvalidBlockError(f"{name} has a parameter that is not finite")
    if len(operation.writes) not in _writes(operation):
        raise InvalidBlockError(f"{name} writes {len(operation.writes)} bits")
    _check_condition(operation)
    if kind == circuit.OPERATION_KIND_GATE:
        _check_gate(operation)
    _check_waiting(operation)
    for use in operation.struck:
        _check_strike(operation, use)


def _check_waiting(operation: gate.NodeOperation) -> None:
    times = len(operation.idle_ns)
    if times not in {0, len(operation.wires)} or not (
        times == len(operation.t1_seconds) == len(operation.t2_seconds)
    ):
        raise InvalidBlockError(
            f"operation {operation.index} does not say for each wire how long it waited, and where"
        )
    if any(not 0 <= value < math.inf for value in [*operation.t1_seconds, *operation.t2_seconds]):
        raise InvalidBlockError(
            f"operation {operation.index} has a decay time that is negative or not finite"
        )


def _check_strike(operation: gate.NodeOperation, use: gate.EbitUse) -> None:
    name = f"pair {use.pair} of operation {operation.index}"
    weights = (use.error_x, use.error_y, use.error_z)
    if not all(0 <= weight <= 1 for weight in weights) or sum(weights) > 1 + _ROUNDING:
        raise InvalidBlockError(f"{name} has errors whose probabilities make no sense")
    if use.kind not in _STRIKES or use.wire not in operation.wires:
        raise InvalidBlockError(f"{name} serves no wire of it in a known way")
    if use.kind == "cat" and served(operation, use.wire) not in _COPIED:
        raise InvalidBlockError(f"{name} is a cat copy, which cannot serve it")


def _check_condition(operation: gate.NodeOperation) -> None:
    kind, name = operation.kind, f"operation {operation.index}"
    if operation.HasField("condition"):
        condition_of(operation.condition)
        if kind == circuit.OPERATION_KIND_TELEPORT or operation.terminal:
            raise InvalidBlockError(f"{name} cannot be conditioned")
    if operation.terminal and kind != circuit.OPERATION_KIND_MEASURE:
        raise InvalidBlockError(f"{name} is no measurement, so it cannot be terminal")


def _writes(operation: gate.NodeOperation) -> tuple[int, ...]:
    """How many bits an operation may write."""
    if operation.kind == circuit.OPERATION_KIND_MEASURE:
        return (1,)
    if operation.kind == circuit.OPERATION_KIND_SYNDROME:
        code = CODES.get(len(operation.wires))
        if code is None:
            raise InvalidBlockError(f"no code has {len(operation.wires)} qubits")
        return (0, len(code.stabilizers))
    return (0,)


def _check_gate(operation: gate.NodeOperation) -> None:
    try:
        matrix = kernels.gate_matrix(operation.name, tuple(operation.parameters))
    except KeyError:
        raise InvalidBlockError(f"no gate is called {operation.name[:64]!r}") from None
    except ValueError as error:
        raise InvalidBlockError(str(error)) from None
    if len(matrix) != 1 << len(operation.wires):
        raise InvalidBlockError(f"{operation.name} does not take {len(operation.wires)} wires")


def _check_profile(profile: gate.NoiseProfile) -> None:
    rates = [*profile.service_fidelity.values(), *profile.gate_fidelity.values(), profile.readout_error]
    times = [profile.t1_seconds, profile.t2_seconds]
    if not all(0.0 <= rate <= 1.0 for rate in rates) or not all(math.isfinite(t) and t >= 0 for t in times):
        raise InvalidBlockError("a rate of the noise profile is no probability, or a time is negative")
