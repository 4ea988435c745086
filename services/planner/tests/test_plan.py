"""Plans: the same bytes for the same input, and sound for circuits that nobody chose."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qmesh.fabric.v1 import advert_pb2 as advert
from qmesh.fabric.v1 import state_pb2 as state
from qmesh.planner.v1 import plan_pb2 as pb
from qmesh.planner.v1 import planner_pb2 as planner
from qmesh.registry.v1 import registry_pb2 as registry
from qmesh_model import wire
from qmesh_model.errors import MeshError
from qmesh_model.gates import SERVICE_TYPES
from qmesh_model.parser import parse
from qmesh_planner.domain.plan import make_plan
from qmesh_planner.domain.weights import Weights
from tests.programs import program

WEIGHTS = Weights(1000, 20_000, 50_000_000, 2000)


def snapshot(qubits: list[int], without: dict[int, set[str]] | None = None) -> registry.Snapshot:
    """Nodes n0, n1, ... of these data qubits, all linked; `without` names services that a node lacks."""
    found = registry.Snapshot(snapshot_id="s")
    for number, size in enumerate(qubits):
        node = found.nodes.add(
            node_id=f"n{number}", name=f"n{number}", state_transfer=True, executors=["ensemble"]
        )
        node.capacity.data_qubits, node.capacity.state_bytes, node.rtt_us = size, 1 << 30, 500
        for service in SERVICE_TYPES:
            if service not in (without or {}).get(number, set()):
                node.services.add(
                    service_type=service, fidelity=0.99, qubit_min=1, qubit_max=9, duration_ns=1000,
                    availability=advert.AVAILABILITY_AVAILABLE,
                )  # fmt: skip
    for a in range(len(qubits)):
        for b in range(a + 1, len(qubits)):
            found.links.add(
                node_a=f"n{a}", node_b=f"n{b}", pair_fidelity=0.95, pair_rate_hz=100.0, rtt_us=300
            )
    return found


def request(text: str, topology: registry.Snapshot, **more: Any) -> planner.CompileRequest:
    """A request to plan a text."""
    return planner.CompileRequest(circuit=wire.to_proto(parse(text)), topology=topology, shots=100, **more)


def text_of(seed: int, width: int, length: int) -> str:
    """A random circuit with gates, mid-circuit measurement, conditions, resets and service words."""
    draw = random.Random(seed)
    lines = ["OPENQASM 3.0;", 'include "stdgates.inc";', f"qubit[{width}] q;", f"bit[{width}] c;"]
    for _ in range(length):
        a, b = draw.sample(range(width), 2) if width > 1 else (0, 0)
        one = [
            f"h q[{a}];",
            f"t q[{a}];",
            f"c[{a}] = measure q[{a}];",
            f"if (c[{b}]) x q[{a}];",
            f"reset q[{a}];",
        ]
        two = [
            f"cx q[{a}], q[{b}];",
            f"cz q[{a}], q[{b}];",
            f"swap q[{a}], q[{b}];",
            f"teleport q[{a}], q[{b}];",
        ]
        lines.append(draw.choice(one + (two * 2 if width > 1 else [])))
    return "\n".join([*lines, "c = measure q;"]) + "\n"


def check(circuit_text: str, plan: pb.Plan, topology: registry.Snapshot) -> None:
    """What must hold for every plan."""
    circuit = parse(circuit_text)
    planned = sorted(n for fragment in plan.fragments for n in fragment.operations)
    assert planned == [op.index for op in circuit.operations if op.service_type], "every operation, once"
    assert sorted(n for block in plan.blocks for n in block.fragments) == list(range(len(plan.fragments)))
    nodes = {node.node_id: node for node in topology.nodes}
    position = {number: block.block_id for block in plan.blocks for number in block.fragments}
    for block in plan.blocks:
        assert all(other < block.block_id for other in block.dependencies), "no cycle"
        ids = [candidate.node_id for candidate in block.candidates]
        assert len(set(ids)) == len(ids), "fallbacks are other nodes"
        assert len(ids) <= 4
        offers = {offer.service_type for offer in nodes[ids[0]].services}
        assert {plan.fragments[n].service_type for n in block.fragments} <= offers
    for number, fragment in enumerate(plan.fragments):
        for needed in fragment.dependencies:
            both = (fragment.operations[0], plan.fragments[needed].operations[0])
            if not all(
                circuit.operations[n].terminal for n in both
            ):  # each of their writes has its own version
                assert position[needed] <= position[number], "order of dependencies"
    for chain in plan.chains:
        assert list(chain.blocks) == sorted(chain.blocks), "the blocks of a component are totally ordered"
    used: dict[str, set[int]] = {}
    newest: dict[int, str] = {}
    for home in sorted(plan.homes, key=lambda h: h.from_operation):
        newest[home.wire] = home.node_id
    for wire_number, node_id in newest.items():
        used.setdefault(node_id, set()).add(wire_number)
    for demand in plan.demands:
        assert demand.data_qubits <= nodes[demand.node_id].capacity.data_qubits


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6), width=st.integers(1, 8), length=st.integers(1, 30), nodes=st.integers(1, 5)
)
def test_random_circuits_are_planned_soundly(seed: int, width: int, length: int, nodes: int) -> None:
    """Every operation is in one fragment of one block, in order, on nodes that offer and have room for it."""
    text, topology = text_of(seed, width, length), snapshot([max(2, width)] + [3] * (nodes - 1))
    check(text, make_plan(request(text, topology), WEIGHTS), topology)


def test_shuffled_snapshots_and_hash_seeds_give_the_same_bytes() -> None:
    """A plan depends on neither the order of a snapshot nor the hash seed of a process."""
    text = text_of(5, 8, 40)
    program = (
        "import sys; from qmesh_planner.domain.plan import make_plan; from qmesh_planner.domain.weights import Weights;"
        "from qmesh.planner.v1 import planner_pb2 as p; import hashlib;"
        "r = p.CompileRequest.FromString(sys.stdin.buffer.read());"
        "w = Weights(1000, 20000, 50000000, 2000);"
        "print(hashlib.sha256(make_plan(r, w).SerializeToString(deterministic=True)).hexdigest())"
    )
    digests = set()
    for number in range(4):
        topology = snapshot([4, 4, 3, 5])
        nodes, links = list(topology.nodes), list(topology.links)
        random.Random(number).shuffle(nodes)
        random.Random(number).shuffle(links)
        shuffled = registry.Snapshot(snapshot_id="s", nodes=nodes, links=links)
        body = request(text, shuffled).SerializeToString()
        done = subprocess.run(
            [sys.executable, "-c", program], input=body, capture_output=True, check=True, timeout=60,
            env=os.environ | {"PYTHONHASHSEED": str(number)},
        )  # fmt: skip
        digests.add(done.stdout.strip().decode())
    own = make_plan(request(text, snapshot([4, 4, 3, 5])), WEIGHTS).SerializeToString(deterministic=True)
    assert digests == {hashlib.sha256(own).hexdigest()}


def test_a_plan_knows_no_values_of_inputs() -> None:
    """A circuit with inputs is planned once: names of registers and values are no part of its digest or its plan."""
    text = (
        'OPENQASM 3.0;\ninclude "stdgates.inc";\ninput float theta;\nqubit[4] q;\nbit[4] c;\nrx(2*theta) q;\n'
    )
    text += "".join(f"cp(theta) q[{n}], q[{n + 1}];\n" for n in range(3)) + "c = measure q;\n"
    plans = [
        make_plan(request(written, snapshot([2, 2])), WEIGHTS)
        for written in (text, text.replace(" q", " data"))
    ]
    assert plans[0].SerializeToString(deterministic=True) == plans[1].SerializeToString(deterministic=True)
    form = parse(text)
    assert plans[0].circuit_digest == form.digest != form.bind({"theta": 0.3}).digest


def test_ghz_over_two_nodes_costs_one_pair() -> None:
    """A chain that crosses one cut needs one e-bit, and the plan says on which link."""
    text = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[8] q;\nbit[8] c;\nh q[0];\n'
    text += "".join(f"cx q[{n}], q[{n + 1}];\n" for n in range(7)) + "c = measure q;\n"
    plan = make_plan(request(text, snapshot([5, 5])), WEIGHTS)
    assert plan.ebit_summary.total == 1
    (link,) = plan.ebit_summary.per_link
    assert {link.node_a, link.node_b} == {"n0", "n1"}


def test_missing_service_is_named() -> None:
    """What no node offers is a typed refusal that names the service."""
    topology = snapshot([4, 4], {0: {"cnot"}, 1: {"cnot"}})
    with pytest.raises(MeshError, match="cnot") as refused:
        make_plan(request("OPENQASM 3.0;\nqubit[2] q;\ncnot q[0], q[1];\n", topology), WEIGHTS)
    assert refused.value.code == "NO_CAPABLE_NODE"


def test_too_wide_a_circuit_is_refused() -> None:
    """More qubits than the mesh has is a typed refusal."""
    with pytest.raises(MeshError) as refused:
        make_plan(request(text_of(1, 8, 10), snapshot([3, 3])), WEIGHTS)
    assert refused.value.code == "NO_CAPABLE_NODE"


def test_unknown_strategy_is_refused() -> None:
    """A strategy that does not exist yet is refused by name, never replaced by another."""
    with pytest.raises(MeshError, match="cost, centralized") as refused:
        make_plan(request(text_of(1, 2, 5), snapshot([3, 3]), strategy=pb.STRATEGY_EBIT), WEIGHTS)
    assert refused.value.code == "STRATEGY_UNAVAILABLE"


def test_excluded_nodes_are_not_used() -> None:
    """A new plan uses none of the nodes that failed."""
    plan = make_plan(request(text_of(3, 4, 20), snapshot([4, 4, 4]), excluded_nodes=["n0"]), WEIGHTS)
    assert "n0" not in {c.node_id for block in plan.blocks for c in block.candidates}


@pytest.mark.parametrize("qubits", [[4, 4, 4], [5, 5, 5], [4, 3, 3, 3], [6, 5, 4, 4], [4, 2, 2, 2]])
def test_programs_with_syndromes_fit_tight_nodes(qubits: list[int]) -> None:
    """Programs of six qubits whose syndromes need a whole node are planned: other qubits make room for them."""
    topology = snapshot(qubits)
    for seed in (20, 31, 78, 129, 151, 165, 184, *range(300, 330)):
        text = program(seed).text
        check(text, make_plan(request(text, topology), WEIGHTS), topology)


def _executors(text: str, topology: registry.Snapshot, **more: Any) -> list[int]:
    return [block.executor for block in make_plan(request(text, topology, **more), WEIGHTS).blocks]


def _ghz(width: int, extra: str = "") -> str:
    gates = "\n".join(f"cx q[{i}], q[{i + 1}];" for i in range(width - 1))
    return f'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[{width}] q;\nbit[{width}] c;\nh q[0];\n{gates}\n{extra}\nc = measure q;'


def _both(topology: registry.Snapshot) -> registry.Snapshot:
    for node in topology.nodes:
        node.executors[:] = ["ensemble", "stabilizer"]
    return topology


def test_wide_clifford_components_are_stabilizer_states() -> None:
    """Where every node can do that, and nothing happens to them that a tableau cannot express."""
    able, unable = _both(snapshot([20])), snapshot([20])
    stabilizer, ensemble = state.EXECUTOR_KIND_STABILIZER, state.EXECUTOR_KIND_ENSEMBLE
    assert set(_executors(_ghz(12), able)) == {stabilizer}
    assert set(_executors(_ghz(12, "c[0] = measure q[0]; if (c[0]) { x q[5]; } reset q[3];"), able)) == {
        stabilizer
    }
    assert set(_executors(_ghz(12), unable)) == {ensemble}
    assert set(_executors(_ghz(11), able)) == {ensemble}
    for other in ("t q[3];", "c[0] = measure q[0]; if (c[0]) { h q[5]; }", "ccx q[0], q[1], q[2];"):
        assert set(_executors(_ghz(12, other), able)) == {ensemble}, other


def test_a_hundred_qubits_of_ghz_take_little_memory() -> None:
    """A stabilizer component of 100 qubits is planned at its real size, in one slice."""
    plan = make_plan(request(_ghz(100), _both(snapshot([20] * 5))), WEIGHTS)
    assert plan.slices == 1
    assert 40_000 < max(block.state_bytes for block in plan.blocks) < 60_000


def test_slices_only_where_fewer_shots_mean_fewer_rows() -> None:
    """One history of 22 qubits is executed once; thousands of histories are executed in slices that fit."""
    topology = snapshot([22])
    topology.nodes[0].capacity.state_bytes = 1 << 27
    assert make_plan(request(_ghz(22, "t q[0];"), topology), WEIGHTS).slices == 1
    topology.nodes[0].capacity.state_bytes = 1 << 22
    body = _ghz(12, "t q[0];" + "".join(f"c[{i}] = measure q[{i}]; h q[{i}];" for i in range(7)))
    assert make_plan(request(body, topology), WEIGHTS).slices == 8


def test_what_no_node_can_hold_is_refused_before_anything_runs() -> None:
    """Too many qubits that interact, or too many bytes of one history: NO_CAPABLE_NODE, with both numbers."""
    topology = _both(snapshot([40]))
    with pytest.raises(
        MeshError, match=r"30 qubits interact, with gates that need amplitudes; .* at most 22 together"
    ) as wide:
        make_plan(request(_ghz(30, "t q[0];"), topology), WEIGHTS)
    assert wide.value.code == "NO_CAPABLE_NODE"
    assert make_plan(request(_ghz(30), topology), WEIGHTS).blocks
    topology.nodes[0].capacity.dense_qubits = 20
    with pytest.raises(MeshError, match="at most 20 together"):
        make_plan(request(_ghz(21, "t q[0];"), topology), WEIGHTS)
    topology.nodes[0].capacity.state_bytes = 1 << 20
    with pytest.raises(MeshError, match=r"take 16,777,220 bytes; the largest live node has 1,048,576"):
        make_plan(request(_ghz(20, "t q[0];"), topology), WEIGHTS)


def test_a_node_without_the_memory_is_no_candidate() -> None:
    """A fallback that cannot hold the component is counted out by its reason."""
    topology = snapshot([12, 12])
    topology.nodes[1].capacity.dense_qubits = 8
    topology.links.clear()
    plan = make_plan(request(_ghz(11, "t q[0];"), topology), WEIGHTS)
    assert [[c.node_id for c in block.candidates] for block in plan.blocks] == [["n0"]] * len(plan.blocks)
    assert all({e.reason: e.count for e in block.exclusions} == {"memory": 1} for block in plan.blocks)
