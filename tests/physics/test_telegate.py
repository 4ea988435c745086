"""Errors of a cat copy against the explicit protocol: entangler, gate from the copy, disentangler, over a pair with each error."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.circuit.library import UnitaryGate
from qiskit.quantum_info import DensityMatrix, Statevector, partial_trace, random_statevector, state_fidelity

from qmesh_model import gates
from qmesh_model.reach import axis_matrix, copy_errors

C, T, A, B = range(4)
_BASES: dict[str, list[str]] = {"z": [], "x": ["h"], "y": ["h", "s"]}
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
def test_a_copied_operand_errs_as_the_protocol_does(
    name: str, angles: tuple[float, ...], operand: int, basis: str, error: str
) -> None:
    """For each error of the pair the protocol does to any state what flip, gate, flip and phase do to it."""
    errors = copy_errors(name, angles, operand)
    state = random_statevector(4, seed=len(name) + operand)
    whole = DensityMatrix(Statevector.from_label("00").tensor(state)).evolve(
        _protocol(name, angles, operand, basis, error)
    )
    places = [T, T]
    places[operand] = C
    expected = QuantumCircuit(2)
    if error in "XY":
        expected.append(UnitaryGate(np.array(axis_matrix(errors.before))), [C])
    expected.append(UnitaryGate(np.array(gates.matrix(name, angles))), places)
    if error in "XY":
        expected.append(UnitaryGate(np.array(axis_matrix(errors.after))), [C])
    if error in "YZ":
        expected.append(UnitaryGate(np.array(axis_matrix(errors.phase))), [C])
    made = partial_trace(whole, [A, B])
    assert state_fidelity(made, state.evolve(expected)) == pytest.approx(1, abs=1e-10)
