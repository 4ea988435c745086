"""From a text to what nodes are asked to do: nothing that was accepted is dropped, nothing is added, nothing is changed."""

from __future__ import annotations

from collections import Counter

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st

from qmesh.fabric.v1 import advert_pb2 as advert
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh.planner.v1 import planner_pb2 as planner
from qmesh.registry.v1 import registry_pb2 as registry
from qmesh_model import wire
from qmesh_model.circuit import Circuit, Kind
from qmesh_model.errors import MeshError
from qmesh_model.gates import SERVICE_TYPES
from qmesh_model.parser import parse
from qmesh_model.wires import track_wires
from qmesh_planner.domain.plan import make_plan
from qmesh_planner.domain.weights import Weights
from qmesh_runtime.domain.requests import operations_of
from tests.circuits.grammar import Program, programs
from tests.programs import program

WEIGHTS = Weights(1000, 20_000, 50_000_000, 2000)
FREE = {Kind.BARRIER, Kind.DELAY}
sampled = hypothesis.settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def mesh(nodes: int) -> registry.Snapshot:
    """Nodes of six data qubits that offer everything, all linked."""
    found = registry.Snapshot(snapshot_id="s")
    for number in range(nodes):
        node = found.nodes.add(
            node_id=f"n{number}", name=f"n{number}", state_transfer=True, executors=["ensemble"]
        )
        node.capacity.data_qubits, node.capacity.state_bytes, node.rtt_us = 6, 1 << 30, 500
        for service in SERVICE_TYPES:
            node.services.add(
                service_type=service, fidelity=0.99, qubit_min=1, qubit_max=9, duration_ns=1000,
                availability=advert.AVAILABILITY_AVAILABLE,
            )  # fmt: skip
        for other in range(number):
            found.links.add(
                node_a=f"n{other}", node_b=f"n{number}", pair_fidelity=0.95, pair_rate_hz=100.0, rtt_us=300
            )
    return found


def asked(form: Circuit, nodes: int) -> list[gate.NodeOperation]:
    """Every operation that the runtime asks any node for, by the planner's plan."""
    message = wire.to_proto(form)
    plan = make_plan(planner.CompileRequest(circuit=message, topology=mesh(nodes), shots=100), WEIGHTS)
    found = [operation for block in plan.blocks for operation in operations_of(plan, block, message)[0]]
    planned = Counter(index for fragment in plan.fragments for index in fragment.operations)
    assert planned == Counter(operation.index for operation in found), "fragments and blocks hold the same"
    return found


def check(form: Circuit, nodes: int) -> None:
    """What nodes are asked for is the normal form, but for what is no work at all."""
    if not any(operation.needs_node for operation in form.operations):
        assert "MESH156" in {warning.code for warning in form.warnings}
        with pytest.raises(MeshError, match="nothing to execute"):
            asked(form, nodes)
        return
    found = asked(form, nodes)
    free = {
        op.index
        for op in form.operations
        if op.kind in FREE or (op.kind is Kind.SWAP and op.condition is None)
    }
    assert sorted([*(operation.index for operation in found), *free]) == list(range(len(form.operations)))
    where, message = track_wires(form).of_operation, wire.to_proto(form)
    for operation in found:
        source = message.operations[operation.index]
        assert (operation.kind, operation.name, operation.service_type) == (
            source.kind, source.name, source.service_type,
        )  # fmt: skip
        assert tuple(operation.wires) == where[operation.index]
        assert list(operation.parameters) == list(form.operations[operation.index].parameters)
        assert list(operation.writes) == list(source.writes)
        assert operation.HasField("condition") == source.HasField("condition")
        assert operation.condition == source.condition
        assert operation.terminal == source.terminal


@sampled
@given(programs(2), st.integers(1, 3))
def test_programs_of_openqasm_2_are_executed_entirely(drawn: Program, nodes: int) -> None:
    """The operations of all fragments are those of the normal form: each once, with its wires, angles and conditions."""
    check(parse(drawn.text).bind(drawn.values), nodes)


@sampled
@given(programs(3), st.integers(1, 3))
def test_programs_of_openqasm_3_are_executed_entirely(drawn: Program, nodes: int) -> None:
    """The operations of all fragments are those of the normal form: each once, with its wires, angles and conditions."""
    check(parse(drawn.text).bind(drawn.values), nodes)


@pytest.mark.parametrize("seed", range(40))
def test_programs_with_syndromes_are_executed_entirely(seed: int) -> None:
    """So are programs with syndrome extractions and distillation."""
    check(parse(program(seed).text), 1 + seed % 3)


def test_a_lost_operation_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planner that forgot one operation, or a runtime that sent another angle, fails the check."""
    form = parse('OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q;\nrx(0.1) q[0];\ncx q[0], q[1];\n')
    check(form, 2)
    right = operations_of

    def forgetful(*arguments: object) -> tuple[list[gate.NodeOperation], object]:
        operations, headers = right(*arguments)  # type: ignore[arg-type]
        return operations[1:], headers

    def inexact(*arguments: object) -> tuple[list[gate.NodeOperation], object]:
        operations, headers = right(*arguments)  # type: ignore[arg-type]
        for operation in operations:
            operation.parameters[:] = [2 * value for value in operation.parameters]
        return operations, headers

    for wrong in (forgetful, inexact):
        monkeypatch.setitem(globals(), "operations_of", wrong)
        with pytest.raises(AssertionError):
            check(form, 2)
