"""Purification against published numbers, against explicit circuits, and in plans."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import DensityMatrix

from qmesh.fabric.v1 import advert_pb2 as advert
from qmesh.planner.v1 import plan_pb2 as pb
from qmesh.planner.v1 import planner_pb2 as planner
from qmesh.registry.v1 import registry_pb2 as registry
from qmesh_model import wire
from qmesh_model.gates import SERVICE_TYPES
from qmesh_model.parser import parse
from qmesh_planner.domain.plan import make_plan
from qmesh_planner.domain.purification import BBPSSW, DEJMPS, bbpssw, dejmps, purified, werner
from qmesh_planner.domain.weights import Weights


def test_published_numbers() -> None:
    """BBPSSW of (.9, .9) and (.9, .85), DEJMPS of (.8, .05, .05, .1)."""
    assert bbpssw(0.9, 0.9) == pytest.approx((0.8756, 0.9264), abs=5e-5)
    assert bbpssw(0.9, 0.85) == pytest.approx((0.8467, 0.9055), abs=5e-5)
    p, pair = dejmps((0.8, 0.05, 0.05, 0.1))
    assert (p, pair[0]) == pytest.approx((0.745, 0.8624), abs=5e-5)
    assert sum(pair) == pytest.approx(1)


def _pair(weights: tuple[float, float, float, float]) -> np.ndarray:
    """Density matrix of a Bell-diagonal pair: weights of Phi+, Psi-, Psi+ and Phi-."""
    made = np.zeros((4, 4), dtype=complex)
    for weight, gates in zip(weights, ("", "zx", "x", "z"), strict=True):
        bell = QuantumCircuit(2)
        bell.h(0)
        bell.cx(0, 1)
        for name in gates:
            getattr(bell, name)(1)
        made += weight * DensityMatrix(bell).data
    return made


def _round(one: np.ndarray, other: np.ndarray, *, rotated: bool) -> tuple[float, float]:
    """Success probability and Phi+ weight after a bilateral CNOT onto the second pair whose bits agree."""
    whole = DensityMatrix(np.kron(other, one))  # pair one on qubits 0 and 1, the other on 2 and 3
    quantum = QuantumCircuit(4)
    if rotated:
        for qubit, angle in ((0, 1), (2, 1), (1, -1), (3, -1)):
            quantum.rx(angle * np.pi / 2, qubit)
    quantum.cx(0, 2)
    quantum.cx(1, 3)
    data = whole.evolve(quantum).data.reshape((2,) * 8)  # axes: 3, 2, 1, 0 of the row, then of the column
    kept = sum(data[b, b, :, :, b, b, :, :].reshape(4, 4) for b in (0, 1))
    p = float(np.trace(kept).real)
    phi = np.array([1, 0, 0, 1]) / np.sqrt(2)
    return p, float((phi @ kept @ phi).real / p)


@pytest.mark.parametrize(("one", "other"), [(0.9, 0.9), (0.75, 0.95), (0.6, 0.7)])
def test_bbpssw_is_its_circuit(one: float, other: float) -> None:
    """Two Werner pairs, CNOTs at both ends, the second pair measured, kept when the bits agree."""
    assert bbpssw(one, other) == pytest.approx(
        _round(_pair(werner(one)), _pair(werner(other)), rotated=False)
    )


@pytest.mark.parametrize("weights", [(0.8, 0.05, 0.05, 0.1), (0.7, 0.1, 0.15, 0.05)])
def test_dejmps_is_its_circuit(weights: tuple[float, float, float, float]) -> None:
    """The same after rotations by pi/2 about x at one end and -pi/2 at the other."""
    p, pair = dejmps(weights)
    assert (p, pair[0]) == pytest.approx(_round(_pair(weights), _pair(weights), rotated=True))


def test_rounds_multiply_their_raw_pairs() -> None:
    """Each round takes two pairs of the round before, as often as it fails."""
    p, better = bbpssw(0.9, 0.9)
    q, best = bbpssw(better, better)
    assert purified(0.9, [BBPSSW, BBPSSW]) == pytest.approx((best, 4 / (p * q)))
    assert purified(0.9, []) == (0.9, 1.0)
    assert purified(0.9, [DEJMPS])[0] == pytest.approx(dejmps(werner(0.9))[1][0])


def _plan(body: str) -> pb.Plan:
    topology = registry.Snapshot(snapshot_id="s")
    for number in range(2):
        node = topology.nodes.add(node_id=f"n{number}", state_transfer=True, executors=["ensemble"])
        node.capacity.data_qubits, node.capacity.state_bytes = 1, 1 << 30
        for service in SERVICE_TYPES:
            node.services.add(
                service_type=service, fidelity=0.99, qubit_min=1, qubit_max=9, duration_ns=1000,
                availability=advert.AVAILABILITY_AVAILABLE,
            )  # fmt: skip
    topology.links.add(node_a="n0", node_b="n1", pair_fidelity=0.9, pair_rate_hz=1000.0)
    text = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q;\nbit[2] c;\n' + body + "c = measure q;"
    request = planner.CompileRequest(
        circuit=wire.to_proto(parse(text)), topology=topology, shots=100, noise=True
    )
    return make_plan(request, Weights(1000, 20_000, 50_000_000, 2000))


def test_a_plan_purifies_the_next_pair_only() -> None:
    """The pair after the word is better, takes more raw pairs and more time, and the prediction rises; the next one is raw again."""
    gates = "cx q[0], q[1]; h q[0]; cx q[0], q[1];"
    plain, pure = _plan("h q[0];" + gates), _plan("h q[0]; distillation q[0]; distillation q[1];" + gates)
    p, better = bbpssw(0.9, 0.9)
    assert [pair.fidelity for pair in plain.ebits] == [0.9, 0.9]
    assert sorted(pair.fidelity for pair in pure.ebits) == [0.9, pytest.approx(better)]
    purer = max(pure.ebits, key=lambda pair: pair.fidelity)
    assert purer.raw_pairs == pytest.approx(2 / p)
    assert purer.used_ns - purer.born_ns == pytest.approx(1e6 * 2 / p, abs=2)
    assert pure.ebit_summary.raw_pairs == pytest.approx(1 + 2 / p)
    assert pure.predicted_fidelity == pytest.approx(plain.predicted_fidelity * better / 0.9)
    assert any("purifies nothing" in warning for warning in pure.warnings)
    waiting = [list(fragment.wire_idle_ns) for fragment in plain.fragments if len(fragment.wires) == 2]
    assert max(max(times) for times in waiting) >= 1_000_000
