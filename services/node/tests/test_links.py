"""Pairs and memories: each channel against Qiskit's density matrices of the explicit protocol, or of its Kraus operators."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.circuit.library import UnitaryGate
from qiskit.quantum_info import (
    DensityMatrix,
    Kraus,
    Pauli,
    Statevector,
    partial_trace,
    random_statevector,
    state_fidelity,
)

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh_model import gates
from qmesh_model.randomness import Purpose
from qmesh_node.domain.block import Block
from qmesh_node.domain.ensemble import Ensemble
from qmesh_node.domain.errors import InvalidBlockError
from qmesh_node.domain.expansion import expanded
from qmesh_node.domain.links import copy_of
from qmesh_node.domain.noise import decay_of
from qmesh_node.domain.randomness import Draws
from qmesh_node.domain.tableau import Tableau

SHOTS = 4000
FIDELITY = 0.8
C, T, A, B = range(4)

_BASES = {"z": [], "x": ["h"], "y": ["h", "s"]}
"""Gates that turn the computational basis into the one in which a gate is diagonal on its remote operand."""
_REMOTE = [
    ("cz", (), 0, "z"), ("cx", (), 0, "z"), ("cx", (), 1, "x"), ("cy", (), 1, "y"), ("cp", (0.7,), 1, "z"), ("rzz", (0.4,), 0, "z"),
    ("rxx", (0.4,), 0, "x"), ("ryy", (0.9,), 1, "y"), ("crx", (1.1,), 1, "x"), ("cry", (0.3,), 1, "y"), ("crz", (0.8,), 0, "z"),
    ("csx", (), 1, "x"), ("cu", (0.3, 0.2, 0.9, 0.1), 0, "z"),
]  # fmt: skip


def _turn(quantum: QuantumCircuit, basis: str, qubit: int, *, back: bool) -> None:
    part = QuantumCircuit(1)
    for name in _BASES[basis]:
        getattr(part, name)(0)
    quantum.compose(part.inverse() if back else part, [qubit], inplace=True)


def _protocol(name: str, angles: tuple[float, ...], operand: int, basis: str, error: str) -> QuantumCircuit:
    """The cat telegate, its measurements deferred: the gate runs from b, whose pair with a has an error."""
    quantum = QuantumCircuit(4)
    quantum.h(A)
    quantum.cx(A, B)
    if error != "I":
        getattr(quantum, error.lower())(B)
    _turn(quantum, basis, C, back=True)
    quantum.cx(C, A)
    quantum.cx(A, B)  # measure a, X on b
    places = [T, T]
    places[operand] = B
    _turn(quantum, basis, B, back=False)
    quantum.append(UnitaryGate(np.array(gates.matrix(name, angles))), places)
    _turn(quantum, basis, B, back=True)
    quantum.h(B)
    quantum.cz(B, C)  # measure b, Z on c
    _turn(quantum, basis, C, back=False)
    return quantum


@pytest.mark.parametrize("error", ["I", "X", "Y", "Z"])
@pytest.mark.parametrize(("name", "angles", "operand", "basis"), _REMOTE)
def test_a_copied_control_errs_as_the_protocol_does(
    name: str, angles: tuple[float, ...], operand: int, basis: str, error: str
) -> None:
    """For each error of the pair the explicit protocol does to any state what flip, gate, flip and phase do."""
    copy = copy_of(name, angles, operand)
    assert copy is not None
    state = random_statevector(4, seed=len(name) + operand)
    whole = DensityMatrix(Statevector.from_label("00").tensor(state)).evolve(
        _protocol(name, angles, operand, basis, error)
    )
    made = partial_trace(whole, [A, B])
    places = [T, T]
    places[operand] = C
    expected = QuantumCircuit(2)
    if error in "XY":
        expected.append(UnitaryGate(np.array(copy.before)), [C])
    expected.append(UnitaryGate(np.array(gates.matrix(name, angles))), places)
    if error in "XY":
        expected.append(UnitaryGate(np.array(copy.after)), [C])
    if error in "YZ":
        expected.append(UnitaryGate(np.array(copy.phase)), [C])
    assert state_fidelity(made, state.evolve(expected)) == pytest.approx(1, abs=1e-10)


def test_gates_that_no_copy_can_serve_have_none() -> None:
    """A swap is diagonal in no basis of one operand."""
    assert copy_of("swap", (), 0) is None
    assert copy_of("iswap", (), 1) is None


def _ebit(
    wire: int, kind: str = "cat", *, operation: int, again: bool = False, draw: int = 0
) -> gate.EbitUse:
    return gate.EbitUse(wire=wire, kind=kind, fidelity=FIDELITY, operation=operation, again=again, draw=draw)


def _run(lab: ModuleType, body: str, qubits: int, *, stabilizer: bool = False, idle: dict[int, list[int]] | None = None,
         profile: gate.NoiseProfile | None = None, **ebits: list[gate.EbitUse]) -> tuple[DensityMatrix, Any]:  # fmt: skip
    """The mean state over all shots, and the execution; `ebits` by operation, as `o0`."""
    parsed = lab.parsed(body, qubits)
    (cut,) = lab.cut(parsed, None)
    operations = lab.node_operations(parsed, cut.operations)
    for operation in operations:
        operation.ebits.extend(ebits.get(f"o{operation.index}", ()))
        operation.idle_ns.extend((idle or {}).get(operation.index, ()))
    components = lab.find_components(parsed, lab.track_wires(parsed))
    execution = lab.execute(
        Block(
            operations=operations,
            fragments=[gate.FragmentHeader(fragment_id=str(n)) for n in range(len(operations))],
            outputs=[
                gate.OutputComponent(component=c, position=p, wires=components.all[c].wires)
                for c, p in cut.outputs
            ],
            fresh_wires=cut.fresh,
            draws=Draws(11, 0, SHOTS),
            profile=profile or gate.NoiseProfile(),
            stabilizer=stabilizer,
        )
    )
    (made,) = execution.components
    if isinstance(made, Tableau):
        made = expanded(made, np.complex128)
    assert isinstance(made, Ensemble)
    order = [0, *(1 + made.wires[::-1].index(wire) for wire in reversed(range(qubits)))]
    rows = made.states.reshape((-1,) + (2,) * qubits).transpose(order).reshape(made.rows, -1)
    weights = np.bincount(made.row_of_shot, minlength=made.rows) / SHOTS
    return DensityMatrix(np.einsum("r,ri,rj->ij", weights, rows, rows.conj())), execution


def _agree(made: DensityMatrix, expected: DensityMatrix) -> None:
    """Every Pauli expectation within 3.5 standard errors of a mean of numbers between -1 and 1."""
    n = made.num_qubits
    for number in range(1, 4**n):
        label = "".join("IXYZ"[number >> 2 * k & 3] for k in range(n))
        exact = float(expected.expectation_value(Pauli(label)).real)
        bound = 3.5 * np.sqrt(max(1 - exact**2, 1e-3) / SHOTS)
        assert float(made.expectation_value(Pauli(label)).real) == pytest.approx(exact, abs=bound), label


def _mixed(protocols: dict[str, QuantumCircuit], state: Statevector, traced: list[int]) -> DensityMatrix:
    weights = {error: FIDELITY if error == "I" else (1 - FIDELITY) / 3 for error in protocols}
    parts = [w * DensityMatrix(state).evolve(protocols[e]).data for e, w in weights.items()]
    return partial_trace(DensityMatrix(np.sum(parts, axis=0)), traced)


@pytest.mark.parametrize("stabilizer", [False, True])
@pytest.mark.parametrize(
    ("name", "operand", "basis"), [("cz", 0, "z"), ("cx", 0, "z"), ("cx", 1, "x"), ("cy", 1, "y")]
)
def test_a_remote_gate_is_the_protocol_over_a_werner_pair(
    lab: ModuleType, name: str, operand: int, basis: str, stabilizer: bool
) -> None:
    """The mean state of the trajectories is the protocol's density matrix, with amplitudes and with a tableau."""
    body = f"h q[0]; s q[0]; h q[1]; {name} q[0], q[1];"
    made, _ = _run(lab, body, 2, stabilizer=stabilizer, o3=[_ebit(operand, operation=3)])
    before = QuantumCircuit(4)
    here = [T, T]
    here[operand] = C
    before.h(here[0])
    before.s(here[0])
    before.h(here[1])
    protocols = {e: before.compose(_protocol(name, (), operand, basis, e)) for e in "IXYZ"}
    expected = _mixed(protocols, Statevector.from_label("0000"), [A, B])
    swapped = expected if here == [C, T] else _exchanged(expected)
    _agree(made, swapped)


def _exchanged(rho: DensityMatrix) -> DensityMatrix:
    quantum = QuantumCircuit(2)
    quantum.swap(0, 1)
    return rho.evolve(quantum)


def test_a_packet_shares_the_errors_of_its_pair(lab: ModuleType) -> None:
    """Two gates from one copy are flipped together: the protocol with both gates between entangler and disentangler."""
    body = "h q[0]; h q[1]; h q[2]; cz q[0], q[1]; ry(0.4) q[1]; cx q[0], q[2];"
    made, execution = _run(lab, body, 3, o3=[_ebit(0, operation=3)], o5=[_ebit(0, operation=3, again=True)])
    c, t, u, a, b = range(5)
    protocols = {}
    for error in "IXYZ":
        quantum = QuantumCircuit(5)
        for qubit in (c, t, u, a):
            quantum.h(qubit)
        quantum.cx(a, b)
        if error != "I":
            getattr(quantum, error.lower())(b)
        quantum.cx(c, a)
        quantum.cx(a, b)
        quantum.cz(b, t)
        quantum.ry(0.4, t)
        quantum.cx(b, u)
        quantum.h(b)
        quantum.cz(b, c)
        protocols[error] = quantum
    _agree(made, _mixed(protocols, Statevector.from_label("00000"), [a, b]))
    first, later = (execution.fragments[n].estimate()[1] for n in (3, 5))
    assert first == later == pytest.approx(FIDELITY, abs=4 * np.sqrt(FIDELITY * (1 - FIDELITY) / SHOTS))


@pytest.mark.parametrize("late", [False, True])
def test_a_teleported_wire_is_depolarised(lab: ModuleType, late: bool) -> None:
    """Over a Werner pair of fidelity F each other Pauli hits the wire with (1 - F) / 3, there and, with a second pair, back."""
    pairs = [_ebit(0, "teleport", operation=2)] + [_ebit(0, "teleport", operation=2, draw=1)] * late
    made, _ = _run(lab, "h q[0]; ry(0.5) q[1]; cu(0.9, 0.2, 0.4, 0.1) q[0], q[1];", 2, o2=pairs)
    rest = np.sqrt((1 - FIDELITY) / 3)
    noisy = Kraus([np.sqrt(FIDELITY) * np.eye(2), *(rest * Pauli(p).to_matrix() for p in "XYZ")])
    first, gate_itself = QuantumCircuit(2), QuantumCircuit(2)
    first.h(0)
    first.ry(0.5, 1)
    gate_itself.cu(0.9, 0.2, 0.4, 0.1, 0, 1)
    rho = DensityMatrix(Statevector.from_label("00")).evolve(first).evolve(noisy, [0]).evolve(gate_itself)
    _agree(made, rho.evolve(noisy, [0]) if late else rho)


PROFILE = gate.NoiseProfile(t1_seconds=2e-3, t2_seconds=1e-3)
IDLE_NS = 700_000


def _decayed(state: DensityMatrix, qubit: int) -> DensityMatrix:
    t = IDLE_NS * 1e-9
    gamma, coherence = 1 - np.exp(-t / 2e-3), np.exp(-t * (1 / 1e-3 - 1 / 4e-3))
    damping = Kraus([np.diag([1, np.sqrt(1 - gamma)]), np.array([[0, np.sqrt(gamma)], [0, 0]])])
    p = (1 - coherence) / 2
    return state.evolve(damping, [qubit]).evolve(
        Kraus([np.sqrt(1 - p) * np.eye(2), np.sqrt(p) * np.diag([1, -1])]), [qubit]
    )


def test_memories_decay_by_model_time(lab: ModuleType) -> None:
    """Trajectories of entangled amplitudes average to amplitude damping with T1 and coherences that go with T2."""
    made, execution = _run(
        lab,
        "ry(1.9) q[0]; cx q[0], q[1]; t q[1]; x q[0];",
        2,
        idle={2: [IDLE_NS], 3: [IDLE_NS]},
        profile=PROFILE,
    )
    quantum = QuantumCircuit(2)
    quantum.ry(1.9, 0)
    quantum.cx(0, 1)
    rho = _decayed(_decayed(DensityMatrix(Statevector.from_label("00")).evolve(quantum), 0), 1)
    last = QuantumCircuit(2)
    last.t(1)
    last.x(0)
    _agree(made, rho.evolve(last))
    assert execution.fragments[2].detail["decay"] == "trajectories"
    plus = DensityMatrix(Statevector.from_label("+"))
    assert abs(_decayed(plus, 0).data[0, 1]) == pytest.approx(0.5 * np.exp(-IDLE_NS * 1e-9 / 1e-3))


def test_a_tableau_suffers_the_twirl_of_the_decay(lab: ModuleType) -> None:
    """X and Y with (1 - e^(-t/T1)) / 4 each, Z with the rest of what e^(-t/T2) leaves; and it says so."""
    made, execution = _run(
        lab, "h q[0]; cx q[0], q[1]; s q[1];", 2, stabilizer=True, idle={2: [IDLE_NS]}, profile=PROFILE
    )
    t = IDLE_NS * 1e-9
    flip = (1 - np.exp(-t / 2e-3)) / 4
    turn = (1 - np.exp(-t / 1e-3)) / 2 - flip
    chances = [1 - 2 * flip - turn, flip, flip, turn]
    noisy = Kraus([np.sqrt(w) * Pauli(p).to_matrix() for w, p in zip(chances, "IXYZ", strict=True)])
    quantum, last = QuantumCircuit(2), QuantumCircuit(2)
    quantum.h(0)
    quantum.cx(0, 1)
    last.s(1)
    _agree(made, DensityMatrix(Statevector.from_label("00")).evolve(quantum).evolve(noisy, [1]).evolve(last))
    assert execution.fragments[2].detail["decay"] == "pauli_twirl"


def test_without_times_nothing_decays() -> None:
    """No coherence times, or no waiting: no decay; T2 at its bound of 2 T1 leaves damping alone."""
    assert decay_of(gate.NoiseProfile(), IDLE_NS) is None
    assert decay_of(PROFILE, 0) is None
    bound = decay_of(gate.NoiseProfile(t1_seconds=1e-3, t2_seconds=2e-3), IDLE_NS)
    assert bound is not None
    assert bound.damping == pytest.approx(1 - np.exp(-0.7))
    assert bound.dephasing == 0.0


def test_a_pair_whose_fidelity_is_no_probability_is_refused(lab: ModuleType) -> None:
    """A block with it is INVALID before anything happens."""
    with pytest.raises(InvalidBlockError, match="fidelity is no probability"):
        _run(lab, "h q[0]; cx q[0], q[1];", 2, o1=[gate.EbitUse(wire=0, kind="cat", fidelity=1.5)])


def test_purposes_keep_their_numbers() -> None:
    """Draws of pairs and memories are part of the contract between versions of a node."""
    assert (Purpose.IDLE_DECAY, Purpose.EBIT) == (5, 6)
    assert circuit.OPERATION_KIND_GATE == 1
