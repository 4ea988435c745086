"""Ideal syndrome extraction: checks, bits and corrections of the four codes."""

from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit.quantum_info import Operator, Pauli, Statevector

from qmesh_analyzer.domain.branches import Branches
from qmesh_analyzer.domain.codes import CODES
from qmesh_analyzer.domain.ideal import ideal_of
from qmesh_analyzer.domain.kernels import pauli
from qmesh_analyzer.domain.report import Report

CORRECTING = [size for size, code in CODES.items() if code.corrects]


def _pauli(size: int, flips: int, phases: int) -> Pauli:
    x = [bool(flips >> q & 1) for q in range(size)]
    z = [bool(phases >> q & 1) for q in range(size)]
    return Pauli((z, x))


def _text(size: int, body: str, bits: int) -> str:
    return (
        f'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[{size}] q;\nbit[{max(bits, 1)}] m;\n{body}\n'
        f"syndrome_extraction q -> m;"
    )


def _projected(state: Statevector, size: int, syndrome: int) -> NDArray[np.complex128]:
    data: NDArray[np.complex128] = state.data
    for k, (flips, phases) in enumerate(CODES[size].checks):
        sign = -1 if syndrome >> k & 1 else 1
        data = (data + sign * Statevector(data).evolve(_pauli(size, flips, phases)).data) / 2
    return data


@pytest.mark.parametrize("size", sorted(CODES))
def test_checks_commute_and_are_independent(size: int) -> None:
    """The checks of every code commute with each other, and each of their syndromes occurs."""
    checks = [_pauli(size, *masks) for masks in CODES[size].checks]
    assert all(a.commutes(b) for a in checks for b in checks)
    assert np.linalg.matrix_rank(np.array([[*c.x, *c.z] for c in checks], dtype=int)) == len(checks)


@pytest.mark.parametrize("size", [3, 4, 7])
def test_branches_are_the_projections_of_qiskit(lab: ModuleType, size: int) -> None:
    """On a random product state each syndrome has the probability of its projector, and leaves its projection."""
    angles = np.random.default_rng(size).uniform(0.3, 2.5, size)
    body = "\n".join(f"ry({angle}) q[{q}];" for q, angle in enumerate(angles))
    ideal = ideal_of(lab.request(_text(size, body, len(CODES[size].checks))).header.circuit)
    start = Statevector.from_label("0" * size)
    for q, angle in enumerate(angles):
        turn = np.array([[np.cos(angle / 2), -np.sin(angle / 2)], [np.sin(angle / 2), np.cos(angle / 2)]])
        start = start.evolve(Operator(turn), [q])
    assert ideal.weights.sum() == pytest.approx(1)
    for branch in range(len(ideal.weights)):
        syndrome = sum(int(column[branch]) << version for version, column in ideal.bits.items())
        projected = _projected(start, size, syndrome)
        assert ideal.weights[branch] == pytest.approx(np.vdot(projected, projected).real, abs=1e-12)
        if not CODES[size].corrects:
            overlap = np.vdot(projected, ideal.states[branch])
            assert abs(overlap) ** 2 == pytest.approx(ideal.weights[branch], abs=1e-12)


@pytest.mark.parametrize("size", CORRECTING)
def test_corrected_states_satisfy_every_check(lab: ModuleType, size: int) -> None:
    """After extraction and correction every check has the value +1 in every branch."""
    body = "\n".join(f"ry(0.{q + 3}) q[{q}];" for q in range(size))
    ideal = ideal_of(lab.request(_text(size, body, len(CODES[size].checks))).header.circuit)
    for flips, phases in CODES[size].checks:
        acted = pauli(ideal.states, flips, phases)
        np.testing.assert_allclose(np.einsum("bi,bi->b", ideal.states.conj(), acted), 1, atol=1e-9)


@pytest.mark.parametrize("size", CORRECTING)
def test_single_errors_are_corrected(size: int) -> None:
    """Any one-qubit error that a code corrects leaves the encoded state as it was."""
    encoded = Branches(size, 0.0)
    encoded.syndrome(range(size), [], None)
    logical = encoded.states[0]
    for qubit in range(size):
        for flips, phases in ((1, 0), (0, 1), (1, 1)) if size > 3 else ((1, 0),):
            damaged = Branches(size, 0.0)
            damaged.states = pauli(logical[None, :], flips << qubit, phases << qubit)
            damaged.syndrome(range(size), [], None)
            assert len(damaged) == 1
            assert abs(np.vdot(logical, damaged.states[0])) ** 2 == pytest.approx(1)


def test_422_detects_without_correction(lab: ModuleType) -> None:
    """The [[4,2,2]] code reports an X error in its second bit and leaves it where it is."""
    text = _text(4, "h q[0]; cx q[0], q[1]; cx q[0], q[2]; cx q[0], q[3]; x q[2];", 2)
    document = Report(lab.request(text).header, []).build()
    assert document["measured_probabilities"] == pytest.approx({"10": 1})
    assert document["probabilities"] == pytest.approx({"0100": 0.5, "1011": 0.5})


def test_one_qubit_has_nothing_to_extract(lab: ModuleType) -> None:
    """Syndrome extraction of one qubit is the identity and leaves the state pure."""
    text = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit q;\nh q;\nsyndrome_extraction q;'
    document = Report(lab.request(text).header, []).build()
    assert document["bloch_vectors"]["q0"] == pytest.approx([1, 0, 0])
    assert document["statevector"] is not None
