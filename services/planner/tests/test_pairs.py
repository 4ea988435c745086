"""Pairs of a plan: purified when the circuit says so, decayed while they wait, acting wherever their copies do."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmesh.planner.v1 import plan_pb2 as pb
from qmesh.planner.v1 import planner_pb2 as planner
from qmesh.registry.v1 import registry_pb2 as registry
from qmesh_model import wire
from qmesh_model.errors import MeshError
from qmesh_model.gates import SERVICE_TYPES
from qmesh_model.pairs import Decay, PauliWeights, bbpssw, dejmps
from qmesh_model.parser import parse
from qmesh_planner.domain.plan import make_plan
from qmesh_planner.domain.weights import Weights
from tests.programs import program

WEIGHTS = Weights(1000, 20_000, 50_000_000, 2000)
HEAD = 'OPENQASM 3.0; include "stdgates.inc"; qubit[4] q; bit[4] c; '


def snapshot(qubits: list[int], *, t1: float = 0.0, t2: float = 0.0) -> registry.Snapshot:
    """Linked nodes of these data qubits, of perfect gates that take 1 us; pairs of 0.9, 100 a second."""
    found = registry.Snapshot(snapshot_id="s")
    for number, size in enumerate(qubits):
        node = found.nodes.add(
            node_id=f"n{number}", state_transfer=True, executors=["ensemble"], readout_fidelity=1.0
        )
        node.capacity.data_qubits, node.capacity.state_bytes = size, 1 << 30
        node.memory.t1_seconds, node.memory.t2_seconds = t1, t2
        for service in SERVICE_TYPES:
            node.services.add(
                service_type=service, fidelity=1.0, qubit_min=1, qubit_max=9, duration_ns=1000, availability=1
            )
    for a in range(len(qubits)):
        for b in range(a + 1, len(qubits)):
            found.links.add(node_a=f"n{a}", node_b=f"n{b}", pair_fidelity=0.9, pair_rate_hz=100.0)
    return found


def plan_of(text: str, topology: registry.Snapshot, **more: Any) -> pb.Plan:
    """The plan of a text, with noise."""
    circuit = wire.to_proto(parse(text))
    return make_plan(
        planner.CompileRequest(circuit=circuit, topology=topology, shots=100, noise=True, **more), WEIGHTS
    )


CROSSING = "h q[0]; cx q[0], q[1]; cx q[1], q[2]; cx q[2], q[3];"


@pytest.mark.parametrize(
    ("words", "rounds"),
    [
        ("", []),
        ("distillation q; ", ["bbpssw"]),
        ("distillation(dejmps) q; distillation(dejmps) q; ", ["dejmps", "dejmps"]),
    ],
)
def test_distillation_purifies_the_next_pair_of_its_qubit(words: str, rounds: list[str]) -> None:
    """Fidelity, raw pairs and waiting time are those of the rounds, whichever end of the gate is remote."""
    orders = "".join(words.replace(" q;", f" q[{k}];") for k in range(4))
    plan = plan_of(HEAD + orders + CROSSING + " c = measure q;", snapshot([2, 2]))
    (pair,) = plan.ebits
    assert list(pair.rounds) == rounds
    expected, raw = PauliWeights.werner(0.9), 1.0
    for protocol in rounds:
        made = dejmps(expected) if protocol == "dejmps" else bbpssw(expected.none, expected.none)
        expected, raw = made.pair, raw * 2 / made.success
    assert pair.fidelity == pytest.approx(expected.none)
    assert (pair.error_x, pair.error_y, pair.error_z) == pytest.approx((expected.x, expected.y, expected.z))
    assert pair.raw_pairs == pytest.approx(raw)
    assert plan.ebit_summary.raw_pairs == pytest.approx(raw)
    assert plan.ebit_summary.total == 1
    waits = [fragment.link_wait_ns for fragment in plan.fragments if fragment.link_wait_ns]
    assert waits == [round(raw * 1e9 / 100)]
    warned = sum("purifies nothing" in warning for warning in plan.warnings)
    assert warned == (3 if rounds else 0)


def test_a_pair_that_waits_for_its_brothers_decays() -> None:
    """Two pairs of one link come one after another; the first one waits for the second in both memories."""
    text = 'OPENQASM 3.0; include "stdgates.inc"; qubit[2] q; bit[2] c; h q[0]; h q[1]; teleport q[0], q[1]; c = measure q;'
    plan = plan_of(text, snapshot([1, 1], t1=0.5, t2=0.2))
    first, second = sorted(plan.ebits, key=lambda pair: pair.born_ns)
    assert (first.operation, first.used_ns) == (second.operation, second.used_ns)
    assert second.born_ns - first.born_ns == 10_000_000
    assert second.born_ns == second.used_ns
    assert second.fidelity == pytest.approx(0.9)
    decay = Decay.after(0.01, 0.5, 0.2).twirled()
    assert first.fidelity == pytest.approx(PauliWeights.werner(0.9).then(decay).then(decay).none)


def test_wires_wait_for_pairs_and_delays() -> None:
    """Idle times: nothing before a wire begins, then what the link and the circuit make it wait."""
    plan = plan_of(HEAD + "x q[0]; delay[3us] q[0]; x q[0]; " + CROSSING, snapshot([2, 2], t1=0.5, t2=0.2))
    idle = {
        step.operation: list(step.idle_ns)
        for block in plan.blocks
        for step in block.operations
        if step.idle_ns
    }
    assert idle[2] == [3_000]
    remote = plan.ebits[0].operation
    assert max(idle[remote]) >= 10_000_000
    kept = 1.0
    for step in (step for block in plan.blocks for step in block.operations if step.idle_ns):
        for waited in step.idle_ns:
            kept *= Decay.after(waited * 1e-9, 0.5, 0.2).twirled().none
    fragments = math.prod(fragment.predicted_fidelity for fragment in plan.fragments)
    assert plan.predicted_fidelity == pytest.approx(kept * fragments)
    assert fragments == pytest.approx(plan.ebits[0].fidelity)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([[3, 3], [2, 2, 2], [4, 3], [3, 3, 3]]))
def test_the_error_of_every_pair_acts_where_its_wire_is(seed: int, qubits: list[int]) -> None:
    """At each operation of a packet; else at the first one of its wire from there on; once for each operation."""
    text = program(seed).text
    try:
        plan = plan_of(text, snapshot(qubits))
    except MeshError as error:
        assert error.code == "NO_CAPABLE_NODE"  # noqa: PT017 - a program may be too wide for these nodes
        return
    steps = {step.operation: step for block in plan.blocks for step in block.operations}
    struck: dict[int, list[int]] = {pair.pair: [] for pair in plan.ebits}
    for step in steps.values():
        assert len(set(step.struck)) == len(step.struck)
        for number in step.struck:
            assert plan.ebits[number].wire in step.wires
            struck[number].append(step.operation)
    for pair in plan.ebits:
        later = sorted(
            index for index, step in steps.items() if pair.wire in step.wires and index >= pair.operation
        )
        if pair.kind == "cat":
            assert set(pair.packet) <= set(struck[pair.pair])
            assert len(struck[pair.pair]) - len(pair.packet) in {0, 1}
        else:
            assert struck[pair.pair] == later[:1]
        assert steps[pair.operation].pairs[pair.draw] == pair.pair
