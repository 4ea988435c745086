"""What no plan contains is refused with a typed reason, before anything is allocated."""

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh_node.domain.block import Block
from qmesh_node.domain.ensemble import Ensemble
from qmesh_node.domain.errors import DeadlineError, ExhaustedError, InvalidBlockError
from qmesh_node.domain.executor import Executor
from qmesh_node.domain.memory import Memory
from qmesh_node.domain.randomness import Draws

GATE, MEASURE = circuit.OPERATION_KIND_GATE, circuit.OPERATION_KIND_MEASURE


def _operation(**named: Any) -> gate.NodeOperation:
    filled: dict[str, Any] = {"kind": GATE, "name": "h", "wires": [0]}
    return gate.NodeOperation(**(filled | named))


def _block(*operations: gate.NodeOperation, shots: int = 16, **named: Any) -> Block:
    filled: dict[str, Any] = {
        "operations": operations,
        "fragments": [gate.FragmentHeader(fragment_id="f")],
        "outputs": [],
        "fresh_wires": [0, 1],
        "draws": Draws(1, 0, shots),
    }
    return Block(**(filled | named))


def _condition(*tokens: circuit.ConditionToken) -> circuit.Condition:
    return circuit.Condition(tokens=tokens)


def _version(number: int) -> circuit.ConditionToken:
    return circuit.ConditionToken(version=number)


WRITE = circuit.ClassicalWrite(bit=0, version=0, previous=-1)
NOT = circuit.ConditionToken(operator=circuit.LOGICAL_OPERATOR_NOT)
NONSENSE: dict[str, Callable[[], Block]] = {
    "unknown gate": lambda: _block(_operation(name="frobnicate")),
    "a gate of too many wires": lambda: _block(_operation(name="cx")),
    "a gate of too few wires": lambda: _block(_operation(name="h", wires=[0, 1])),
    "wrong parameters": lambda: _block(_operation(name="rx")),
    "a parameter that is no number": lambda: _block(_operation(name="rx", parameters=[math.nan])),
    "an infinite parameter": lambda: _block(_operation(name="rx", parameters=[math.inf])),
    "one wire twice": lambda: _block(_operation(name="cx", wires=[0, 0])),
    "no wire": lambda: _block(_operation(wires=[])),
    "a wire that is not there": lambda: _block(_operation(wires=[7])),
    "a fragment that is not there": lambda: _block(_operation(fragment=1)),
    "a kind that is not there": lambda: _block(_operation(kind=circuit.OPERATION_KIND_UNSPECIFIED)),
    "a kind of a newer planner": lambda: _block(_operation(kind=99)),
    "a swap, which is the plan's": lambda: _block(_operation(kind=circuit.OPERATION_KIND_SWAP, wires=[0, 1])),
    "a gate that writes": lambda: _block(_operation(writes=[WRITE])),
    "a measurement that writes nothing": lambda: _block(_operation(kind=MEASURE)),
    "a measurement of two wires": lambda: _block(_operation(kind=MEASURE, wires=[0, 1], writes=[WRITE])),
    "a version written twice": lambda: _block(
        _operation(kind=MEASURE, writes=[WRITE]), _operation(kind=MEASURE, writes=[WRITE])
    ),
    "a terminal gate": lambda: _block(_operation(terminal=True)),
    "a conditioned terminal read": lambda: _block(
        _operation(kind=MEASURE, writes=[WRITE], terminal=True, condition=_condition(_version(-1)))
    ),
    "a wire touched after its terminal read": lambda: _block(
        _operation(kind=MEASURE, writes=[WRITE], terminal=True), _operation()
    ),
    "a conditioned teleportation": lambda: _block(
        _operation(kind=circuit.OPERATION_KIND_TELEPORT, wires=[0, 1], condition=_condition(_version(-1)))
    ),
    "a teleportation of a wire that is not there": lambda: _block(
        _operation(kind=circuit.OPERATION_KIND_TELEPORT, wires=[0, 9])
    ),
    "a code that is not there": lambda: _block(
        _operation(kind=circuit.OPERATION_KIND_SYNDROME, wires=[0, 1])
    ),
    "an unknown bit": lambda: _block(_operation(condition=_condition(_version(5)))),
    "an unknown bit that is kept": lambda: _block(
        _operation(
            kind=MEASURE,
            writes=[circuit.ClassicalWrite(version=3, previous=2)],
            condition=_condition(_version(-1)),
        )
    ),
    "a condition of nothing": lambda: _block(_operation(condition=_condition())),
    "a condition that takes too much": lambda: _block(_operation(condition=_condition(NOT))),
    "a condition that leaves two values": lambda: _block(
        _operation(condition=_condition(_version(-1), _version(-1)))
    ),
    "an unknown comparison": lambda: _block(
        _operation(
            condition=_condition(circuit.ConditionToken(comparison=circuit.RegisterComparison(versions=[-1])))
        )
    ),
    "an unknown operator": lambda: _block(
        _operation(condition=_condition(_version(-1), circuit.ConditionToken()))
    ),
    "a condition of 257 steps": lambda: _block(_operation(condition=_condition(_version(-1), *[NOT] * 256))),
    "a fresh wire twice": lambda: _block(fresh_wires=[0, 0]),
    "an output that is not there": lambda: _block(outputs=[gate.OutputComponent(wires=[5])]),
    "an output of nothing": lambda: _block(outputs=[gate.OutputComponent(wires=[])]),
    "an output of wires that never met": lambda: _block(outputs=[gate.OutputComponent(wires=[0, 1])]),
    "two outputs of one wire": lambda: _block(
        outputs=[gate.OutputComponent(wires=[0]), gate.OutputComponent(component=1, wires=[0])]
    ),
    "two outputs of one name": lambda: _block(
        outputs=[gate.OutputComponent(wires=[0]), gate.OutputComponent(wires=[1])]
    ),
    "a fidelity above one": lambda: _block(profile=gate.NoiseProfile(service_fidelity={"hadamard": 1.5})),
    "a fidelity that is no number": lambda: _block(profile=gate.NoiseProfile(gate_fidelity={"h": math.nan})),
    "a readout error below zero": lambda: _block(profile=gate.NoiseProfile(readout_error=-0.1)),
    "an infinite memory": lambda: _block(profile=gate.NoiseProfile(t1_seconds=math.inf)),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_refused_as_invalid(lab: ModuleType, name: str) -> None:
    """A block that contradicts itself or the catalogue is INVALID, and never an untyped error."""
    with pytest.raises(InvalidBlockError):
        lab.execute(NONSENSE[name]())


def test_inputs_that_share_a_wire_are_refused(lab: ModuleType) -> None:
    """Two inputs over one wire, or an input over a fresh wire, are INVALID."""
    one = Ensemble.zero(5, 16, np.complex128)
    with pytest.raises(InvalidBlockError):
        lab.execute(_block(), one, one)
    with pytest.raises(InvalidBlockError):
        lab.execute(_block(fresh_wires=[5]), one)


def test_a_recorded_outcome_that_cannot_be_is_refused(lab: ModuleType) -> None:
    """A recorded 1 of a qubit in |0>, and a syndrome that its state cannot show, are INVALID instead of states of norm 0."""
    measured = lab.parsed("c[0] = measure q[0]; h q[0];", 1, 1)
    with pytest.raises(InvalidBlockError, match="impossible"):
        lab.run_cuts(measured, lab.cut(measured, None), Draws(1, 0, 16), recorded={0: np.ones(16, bool)})
    checked = lab.parsed("x q[0]; syndrome_extraction q[0], q[1], q[2] -> c;", 3, 2)
    with pytest.raises(InvalidBlockError, match="impossible"):
        lab.run_cuts(checked, lab.cut(checked, None), Draws(1, 0, 16), recorded={0: np.zeros(16, bool)})


def test_memory_is_asked_before_rows_multiply(lab: ModuleType) -> None:
    """Ten qubits with a row for each of 4,096 shots need 64 MiB: with 8 MiB the block is RESOURCE_EXHAUSTED, not the machine."""
    body = "".join(f"h q[{i}]; c[{i}] = measure q[{i}];" for i in range(10))
    body += "".join(f"cx q[{i}], q[{i + 1}];" for i in range(9))
    circuit_ = lab.parsed(body, 10, 10)
    (block,) = lab.cut(circuit_, None)
    operations = lab.node_operations(circuit_, block.operations)
    fragments = [gate.FragmentHeader()] * len(operations)
    made = _block(*operations, fragments=fragments, fresh_wires=block.fresh, shots=4096)
    with pytest.raises(ExhaustedError):
        lab.execute(made, limit=8 << 20)
    lab.execute(made, limit=80 << 20)


def test_drawn_errors_are_asked_for_memory(lab: ModuleType) -> None:
    """Rows that noise makes count as those that measurements make."""
    operations = [_operation(name="cx", wires=[0, 1])] + [
        _operation(index=i, wires=[i % 2]) for i in range(12)
    ]
    profile = gate.NoiseProfile(gate_fidelity={"h": 0.5})
    with pytest.raises(ExhaustedError):
        lab.execute(_block(*operations, profile=profile, shots=4096), limit=100_000)


def test_fresh_wires_count_their_shots(lab: ModuleType) -> None:
    """A thousand fresh wires of a million shots are refused before 4 GB are taken."""
    with pytest.raises(ExhaustedError):
        lab.execute(_block(fresh_wires=range(1000), shots=1_000_000))


def test_a_component_above_the_dense_limit_is_refused(lab: ModuleType) -> None:
    """Merging 23 wires on a node with a limit of 22 is RESOURCE_EXHAUSTED."""
    operations = [_operation(name="cx", wires=[i, i + 1]) for i in range(22)]
    with pytest.raises(ExhaustedError, match="dense limit"):
        lab.execute(_block(*operations, fresh_wires=range(23)))


def test_room_is_given_back(lab: ModuleType) -> None:
    """Whatever a block did, closing its workspace leaves the memory as it was."""
    memory = Memory(1 << 20)
    workspace = memory.workspace()
    block = _block(
        _operation(), _operation(name="cx", wires=[1, 0]), _operation(kind=MEASURE, writes=[WRITE])
    )
    Executor(block, [], {}, {}, workspace).run()
    assert memory.used > 0
    workspace.close()
    assert memory.used == 0


def test_a_merged_component_is_counted_once(lab: ModuleType) -> None:
    """After merges in either direction the room taken is exactly that of the components that live."""
    for wires in ([1, 0], [0, 1]):
        memory = Memory(1 << 20)
        block = _block(
            _operation(name="cx", wires=wires),
            _operation(name="cx", wires=[2, wires[0]]),
            fresh_wires=[0, 1, 2],
        )
        Executor(block, [], {}, {}, memory.workspace()).run()
        assert memory.used == 16 * 8 + 4 * 16


def test_work_stops_at_the_deadline_and_when_nobody_waits(lab: ModuleType) -> None:
    """The next operation after the deadline, or after the caller went away, is not executed."""
    with pytest.raises(DeadlineError):
        lab.execute(_block(_operation(), deadline=1.0))
    executor = Executor(_block(_operation()), [], {}, {}, Memory(1 << 20).workspace())
    executor.abandoned = True
    with pytest.raises(DeadlineError):
        executor.run()


def test_inputs_are_never_changed(lab: ModuleType) -> None:
    """A block works on copies: the bytes of an input version stay what they were."""
    ensemble = Ensemble.zero(0, 16, np.complex128)
    before = ensemble.digest()
    ensemble.freeze()
    lab.execute(_block(_operation(), _operation(kind=MEASURE, writes=[WRITE]), fresh_wires=[]), ensemble)
    assert ensemble.digest() == before
