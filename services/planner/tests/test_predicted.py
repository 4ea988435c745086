"""What a plan predicts of words that are several operations for a node."""

from __future__ import annotations

import math
from typing import Any

import pytest

from qmesh.planner.v1 import planner_pb2 as planner
from qmesh.registry.v1 import registry_pb2 as registry
from qmesh_model import wire
from qmesh_model.errors import MeshError
from qmesh_model.parser import parse
from qmesh_planner.domain.plan import make_plan
from qmesh_planner.domain.weights import Weights

CX, H, READ, WORD = 0.99, 0.999, 0.98, 0.9


def _predicted(body: str, services: dict[str, float], size: int, **more: Any) -> float:
    snapshot = registry.Snapshot(snapshot_id="s")
    node = snapshot.nodes.add(node_id="n", state_transfer=True, executors=["ensemble"], readout_fidelity=READ)
    node.capacity.data_qubits, node.capacity.state_bytes = size + 1, 1 << 30
    for service, fidelity in services.items():
        node.services.add(service_type=service, fidelity=fidelity, qubit_min=1, qubit_max=9, availability=1)
    text = f'OPENQASM 3.0; include "stdgates.inc"; qubit[{size}] q; {body}'
    request = planner.CompileRequest(
        circuit=wire.to_proto(parse(text)), topology=snapshot, shots=100, **({"noise": True} | more)
    )
    plan = make_plan(request, Weights(1000, 20_000, 50_000_000, 2000))
    return float(plan.predicted_fidelity)


def _process(average: float, qubits: int) -> float:
    d: int = 2**qubits
    return ((d + 1) * average - 1) / d


@pytest.mark.parametrize(
    ("size", "cx", "h", "checks"), [(1, 0, 0, 0), (3, 4, 0, 2), (4, 8, 2, 2), (7, 24, 6, 6), (9, 24, 8, 8)]
)
def test_an_extraction_is_its_gates_resets_and_reads(size: int, cx: int, h: int, checks: int) -> None:
    """Process fidelities of all that one ancilla does: CX by weight, two H for an X check, a reset and a read."""
    services = {"syndrome_extraction": WORD, "cnot": CX, "hadamard": H}
    expected = math.prod([_process(CX, 2) ** cx, _process(H, 1) ** h, READ ** (2 * checks)])
    assert _predicted("syndrome_extraction q;", services, size) == pytest.approx(expected)
    alone = math.prod([_process(WORD, 2) ** cx, _process(WORD, 1) ** h, READ ** (2 * checks)])
    assert _predicted("syndrome_extraction q;", {"syndrome_extraction": WORD}, size) == pytest.approx(alone)


def test_a_code_that_a_node_cannot_keep_good_enough_is_not_planned_there() -> None:
    """The node's own figure of the word is not enough; without noise, and for a smaller code, it is planned."""
    services = {"syndrome_extraction": 0.99, "cnot": CX, "hadamard": 0.999}
    average = (8 * _predicted("syndrome_extraction q;", services, 3) + 1) / 9
    assert 0.8 < average < 0.95
    assert _predicted("syndrome_extraction q;", services, 3, min_fidelity=average - 1e-9) < 1
    with pytest.raises(MeshError) as refused:
        _predicted("syndrome_extraction q;", services, 3, min_fidelity=average + 1e-9)
    assert refused.value.code == "NO_CAPABLE_NODE"
    assert f"at a fidelity of {average:g} or more" in str(refused.value)
    assert _predicted("syndrome_extraction q;", services, 3, min_fidelity=0.95, noise=False) == 1.0
    assert _predicted("syndrome_extraction q;", services, 1, min_fidelity=0.95) == 1.0


def test_a_gate_too_bad_to_be_planned_still_errs_inside_of_a_word() -> None:
    """A CX figure below the least fidelity counts, as it does at the node; the word's better one does not stand in for it."""
    services = {"syndrome_extraction": 0.99, "cnot": 0.7, "hadamard": H}
    expected = _process(0.7, 2) ** 4 * READ**4
    assert _predicted("syndrome_extraction q;", services, 3) == pytest.approx(expected)
    with pytest.raises(MeshError) as refused:
        _predicted("syndrome_extraction q;", services, 3, min_fidelity=0.8)
    assert refused.value.code == "NO_CAPABLE_NODE"


def test_a_reset_is_a_read() -> None:
    """What is read wrong is not reset."""
    assert _predicted("reset q[0];", {"measurement_feedforward": 0.9}, 1) == pytest.approx(READ)
