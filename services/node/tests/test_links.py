"""Errors of pairs and of waiting, against density matrices of the explicit circuits with the pairs in them."""

from collections.abc import Callable
from functools import reduce
from types import ModuleType

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import DensityMatrix, Kraus, Pauli, partial_trace

from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh_model.pairs import PauliWeights
from qmesh_node.domain.errors import InvalidBlockError
from qmesh_node.domain.expansion import expanded
from qmesh_node.domain.randomness import Draws
from qmesh_node.domain.tally import FragmentTally

SHOTS = 40_000
PAIR = PauliWeights(0.06, 0.1, 0.14)
LINES = dict.fromkeys(("hadamard", "cnot", "cz", "controlled_unitary", "bell_pair", "programmable_gate"), 1.0)

type Mend = Callable[[list[gate.NodeOperation]], None]


def use(kind: str, wire: int, operation: int, *, draw: int = 0, pair: PauliWeights = PAIR) -> gate.EbitUse:
    """A pair that acts on a wire."""
    return gate.EbitUse(
        kind=kind, wire=wire, operation=operation, draw=draw, error_x=pair.x, error_y=pair.y, error_z=pair.z
    )


def executed(
    lab: ModuleType, body: str, qubits: int, mend: Mend, *, stabilizer: bool = False
) -> tuple[DensityMatrix, list[FragmentTally]]:
    """State of all qubits averaged over the shots of one block, and the tallies of its fragments; every gate is perfect."""
    circuit = lab.parsed(body, qubits)
    operations = lab.node_operations(circuit, range(len(circuit.operations)))
    mend(operations)
    block = lab.Block(
        operations=operations,
        fragments=[gate.FragmentHeader(fragment_id=str(n)) for n in range(len(operations))],
        outputs=[gate.OutputComponent(component=0, position=1, wires=range(qubits))],
        fresh_wires=range(qubits),
        draws=Draws(20, 0, SHOTS),
        profile=gate.NoiseProfile(service_fidelity=LINES),
        stabilizer=stabilizer,
    )
    execution = lab.execute(block)
    assert execution.stabilizer == stabilizer
    (component,) = execution.components
    if stabilizer:
        component = expanded(component, np.complex128)
    weights = np.bincount(component.row_of_shot, minlength=component.rows) / SHOTS
    rho = np.einsum("r,ri,rj->ij", weights, component.states, component.states.conj())
    order = [component.wires.index(k) for k in range(qubits)]
    axes = [qubits - 1 - order[qubits - 1 - k] for k in range(qubits)]
    tensor = rho.reshape((2,) * 2 * qubits).transpose([*axes, *[qubits + a for a in axes]])
    return DensityMatrix(tensor.reshape(2**qubits, -1)), execution.fragments


def assert_close(seen: DensityMatrix, exact: DensityMatrix) -> None:
    """Every Pauli expectation is within 4 standard errors; some of 64 are beyond 3 by chance."""
    n = seen.num_qubits
    for label in map("".join, np.array(np.meshgrid(*[list("IXYZ")] * n)).T.reshape(-1, n)):
        a, b = (float(np.real(rho.expectation_value(Pauli(label)))) for rho in (seen, exact))
        assert abs(a - b) < 4 * np.sqrt(max(0.0, 1 - b * b) / SHOTS) + 1e-9, (label, a, b)


def noisy_pair() -> Kraus:
    """The error of the pair, on its far half."""
    letters = zip((PAIR.none, PAIR.x, PAIR.y, PAIR.z), "IXYZ", strict=True)
    return Kraus([np.sqrt(weight) * Pauli(letter).to_matrix() for weight, letter in letters])


def copied(
    qubits: int, data: int, steps: Callable[[QuantumCircuit, int], None], before: QuantumCircuit
) -> DensityMatrix:
    """Gates that `steps` makes run from a cat copy of one qubit; measurements are deferred: the pair is traced out at the end."""
    near, far = qubits, qubits + 1
    start = QuantumCircuit(qubits + 2)
    start.compose(before, range(qubits), inplace=True)
    start.h(near)
    start.cx(near, far)
    rho = DensityMatrix(start).evolve(noisy_pair(), [far])
    rest = QuantumCircuit(qubits + 2)
    rest.cx(data, near)
    rest.cx(near, far)
    steps(rest, far)
    rest.h(far)
    rest.cz(far, data)
    return partial_trace(rho.evolve(rest), [near, far])


@pytest.mark.parametrize("stabilizer", [False, True])
def test_an_error_of_a_copy_strikes_every_gate_of_its_packet(lab: ModuleType, stabilizer: bool) -> None:
    """CX and CZ from one copy of q0, with a local S between: the correlated channel of the explicit circuit."""
    body = "h q[0]; s q[0]; h q[1]; s q[1]; h q[2]; cx q[0], q[1]; s q[0]; cz q[0], q[2]; s q[2];"

    def mend(operations: list[gate.NodeOperation]) -> None:
        for index in (5, 7):
            operations[index].struck.append(use("cat", 0, 5))

    before = QuantumCircuit(3)
    for qubit in (0, 1):
        before.h(qubit)
        before.s(qubit)
    before.h(2)

    def steps(circuit: QuantumCircuit, far: int) -> None:
        circuit.cx(far, 1)
        circuit.s(0)
        circuit.cz(far, 2)
        circuit.s(2)

    seen, tallies = executed(lab, body, 3, mend, stabilizer=stabilizer)
    assert_close(seen, copied(3, 0, steps, before))
    assert tallies[5].good is not None
    assert abs(tallies[5].good.mean() - PAIR.none) < 4 * np.sqrt(PAIR.none * (1 - PAIR.none) / SHOTS)
    assert tallies[7].good is None


def test_the_target_of_a_controlled_gate_is_copied_in_its_own_basis(lab: ModuleType) -> None:
    """CRY with a remote target: the copy is made in the basis of Y."""
    seen, _ = executed(
        lab,
        "h q[0]; ry(0.7) q[1]; t q[1]; cry(1.1) q[0], q[1];",
        2,
        lambda ops: ops[3].struck.append(use("cat", 1, 3)),
    )
    before = QuantumCircuit(2)
    before.h(0)
    before.ry(0.7, 1)
    before.t(1)
    before.sdg(1)
    before.h(1)

    def steps(circuit: QuantumCircuit, far: int) -> None:
        circuit.crz(1.1, 0, far)

    turned = copied(2, 1, steps, before)
    back = QuantumCircuit(2)
    back.h(1)
    back.s(1)
    assert_close(seen, turned.evolve(back))


def test_a_copy_that_becomes_the_wire_keeps_its_flip(lab: ModuleType) -> None:
    """After its packet the home moves to the copy: the original is measured in X instead, and the copy goes on."""

    def mend(operations: list[gate.NodeOperation]) -> None:
        operations[3].struck.append(use("cat", 0, 3))
        operations[4].struck.append(use("kept", 0, 3))

    seen, _ = executed(lab, "h q[0]; t q[0]; h q[1]; cx q[0], q[1]; h q[0];", 2, mend)
    near, far = 2, 3
    start = QuantumCircuit(4)
    start.h(0)
    start.t(0)
    start.h(1)
    start.h(near)
    start.cx(near, far)
    rho = DensityMatrix(start).evolve(noisy_pair(), [far])
    rest = QuantumCircuit(4)
    rest.cx(0, near)
    rest.cx(near, far)
    rest.cx(far, 1)
    rest.h(0)
    rest.cz(0, far)
    rest.h(far)
    moved = partial_trace(rho.evolve(rest), [0, near])  # now q1 is first and the copy second
    swap = QuantumCircuit(2)
    swap.swap(0, 1)
    assert_close(seen, moved.evolve(swap))


def test_a_teleported_wire_has_the_error_of_its_pair(lab: ModuleType) -> None:
    """Bell measurement and corrections, deferred: a Bell-diagonal pair leaves its Pauli channel, here before and after a gate."""

    def mend(operations: list[gate.NodeOperation]) -> None:
        operations[2].struck.extend([use("teleport", 0, 2), use("teleport", 0, 2, draw=1)])

    seen, _ = executed(lab, "ry(0.9) q[0]; ry(0.4) q[1]; swap q[0], q[1];".replace("swap", "iswap"), 2, mend)
    start = QuantumCircuit(2)
    start.ry(0.9, 0)
    start.ry(0.4, 1)
    rho = DensityMatrix(start)

    def teleported(rho: DensityMatrix) -> DensityMatrix:
        near, far = 2, 3
        pair = QuantumCircuit(2)
        pair.h(0)
        pair.cx(0, 1)
        whole = DensityMatrix(pair).tensor(rho).evolve(noisy_pair(), [far])
        rest = QuantumCircuit(4)
        rest.cx(0, near)
        rest.h(0)
        rest.cx(near, far)
        rest.cz(0, far)
        rest.swap(0, far)
        return partial_trace(whole.evolve(rest), [near, far])

    middle = QuantumCircuit(2)
    middle.iswap(0, 1)
    assert_close(seen, teleported(teleported(rho).evolve(middle)))


@pytest.mark.parametrize("stabilizer", [False, True])
def test_waiting_is_amplitude_damping_and_dephasing(lab: ModuleType, stabilizer: bool) -> None:
    """A Bell pair, one half of which waits: the exact channel on an ensemble, its Pauli twirl on a stabilizer state."""
    t1, t2, waited = 2.0, 1.5, 0.8

    def mend(operations: list[gate.NodeOperation]) -> None:
        operations[2].idle_ns.append(round(waited * 1e9))
        operations[2].t1_seconds.append(t1)
        operations[2].t2_seconds.append(t2)

    seen, tallies = executed(lab, "h q[0]; cx q[0], q[1]; s q[1];", 2, mend, stabilizer=stabilizer)
    start = QuantumCircuit(2)
    start.h(0)
    start.cx(0, 1)
    gamma, kept = 1 - np.exp(-waited / t1), np.exp(-waited / t2)
    phase = (1 - kept / np.sqrt(1 - gamma)) / 2
    damping = Kraus([np.diag([1, np.sqrt(1 - gamma)]), np.array([[0, np.sqrt(gamma)], [0, 0]])])
    flip = Kraus([np.sqrt(1 - phase) * np.eye(2), np.sqrt(phase) * np.diag([1, -1])])
    rho = DensityMatrix(start)
    if stabilizer:
        paulis = [Pauli(letter) for letter in "IXYZ"]
        rho = reduce(
            lambda a, b: a + b,
            [rho.evolve(p, [1]).evolve(damping, [1]).evolve(flip, [1]).evolve(p, [1]) / 4 for p in paulis],
        )
    else:
        rho = rho.evolve(damping, [1]).evolve(flip, [1])
    after = QuantumCircuit(2)
    after.s(1)
    assert_close(seen, DensityMatrix(rho).evolve(after))
    assert tallies[2].detail == {"idle": "twirled" if stabilizer else "trajectories"}
    assert tallies[2].idle is not None
    assert 0 < tallies[2].idle.mean() < 1
    assert tallies[2].good is None


def test_only_relaxations_and_flips_make_histories(lab: ModuleType) -> None:
    """Shots that nothing happened to share one row, although their state has faded."""
    circuit = lab.parsed("ry(1.0) q[0]; t q[0];", 1)
    operations = lab.node_operations(circuit, range(2))
    operations[1].idle_ns.append(50_000_000)
    operations[1].t1_seconds.append(1.0)
    operations[1].t2_seconds.append(2.0)
    block = lab.Block(
        operations=operations,
        fragments=[gate.FragmentHeader(fragment_id=str(n)) for n in range(2)],
        outputs=[gate.OutputComponent(component=0, position=1, wires=[0])],
        fresh_wires=[0],
        draws=Draws(3, 0, 1000),
        profile=gate.NoiseProfile(),
    )
    (component,) = lab.execute(block).components
    assert component.rows == 2
    assert np.allclose(np.abs(component.states) ** 2 @ [1, 1], 1)
    assert abs(component.states[0][1]) < np.sin(0.5)


@pytest.mark.parametrize(
    ("mend", "words"),
    [
        (lambda ops: ops[1].struck.append(use("cat", 5, 1)), "serves no wire"),
        (lambda ops: ops[1].struck.append(use("rope", 0, 1)), "serves no wire"),
        (lambda ops: ops[0].struck.append(use("cat", 0, 0)), "cannot serve"),
        (
            lambda ops: ops[1].struck.append(use("cat", 0, 1, pair=PauliWeights(0.6, 0.6, 0.0))),
            "make no sense",
        ),
        (
            lambda ops: ops[1].struck.append(use("cat", 0, 1, pair=PauliWeights(float("nan"), 0, 0))),
            "make no sense",
        ),
        (lambda ops: ops[1].idle_ns.append(5), "for each wire"),
        (lambda ops: ops[0].idle_ns.append(5), "for each wire"),
    ],
)
def test_pairs_and_times_that_make_no_sense_are_refused(lab: ModuleType, mend: Mend, words: str) -> None:
    """Before anything happens."""
    with pytest.raises(InvalidBlockError, match=words):
        executed(lab, "h q[0]; cx q[0], q[1];", 2, mend)
