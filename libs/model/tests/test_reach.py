"""Errors of cat copies against the explicit circuit: entangler, gate from the copy, disentangler, one Pauli error on the pair."""

import math
from functools import reduce
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from qmesh_model import gates
from qmesh_model.circuit import Kind
from qmesh_model.reach import Reach, axis_matrix, copy_errors, reaches

Matrix = NDArray[np.complex128]

I2 = np.eye(2, dtype=complex)
X = np.array([[0, 1], [1, 0]], dtype=complex)
Z = np.diag([1, -1]).astype(complex)
H = (X + Z) / math.sqrt(2)
PAULIS = {"x": X, "y": 1j * X @ Z, "z": Z}
CASES = [
    ("cx", ()), ("cz", ()), ("cy", ()), ("ch", ()), ("cp", (0.7,)), ("crx", (0.9,)), ("cry", (1.1,)), ("crz", (0.4,)),
    ("cu", (0.3, 0.8, 1.2, 0.5)), ("rzz", (0.6,)), ("rxx", (0.6,)), ("ryy", (0.6,)), ("ccx", ()), ("bell_pair", ()), ("csx", ()),
]  # fmt: skip


def on(matrix: Matrix, qubits: tuple[int, ...], n: int) -> Matrix:
    """A matrix on some of n qubits, first operand least significant, little-endian."""
    made = np.zeros((2**n, 2**n), dtype=complex)
    for column in range(2**n):
        source = sum((column >> q & 1) << k for k, q in enumerate(qubits))
        rest = column & ~sum(1 << q for q in qubits)
        for target in range(2 ** len(qubits)):
            row = rest | sum((target >> k & 1) << q for k, q in enumerate(qubits))
            made[row, column] += matrix[target, source]
    return made


def basis_of(name: str, parameters: tuple[float, ...], operand: int) -> Matrix:
    """V such that the gate is diagonal on the operand after V^dagger before it and V after it, by the axes that are claimed."""
    errors = copy_errors(name, parameters, operand)
    phase, across = np.array(axis_matrix(errors.phase)), np.array(axis_matrix(errors.after))
    plus = np.linalg.eigh(phase)[1][:, 1]
    return np.stack([plus, across @ plus], axis=1)


def telegate(name: str, parameters: tuple[float, ...], operand: int, error: Matrix) -> list[Matrix]:
    """Kraus operators on the gate's qubits of the gate through a cat copy of one operand; the pair has an error on its far half."""
    full = np.array(gates.matrix(name, parameters))
    k = len(full).bit_length() - 1
    first = on(H, (operand,), k) if name == "bell_pair" and operand == 0 else np.eye(2**k, dtype=complex)
    core = full @ (on(H, (0,), k)) if name == "bell_pair" else full
    rest = on(H, (0,), k) if name == "bell_pair" and operand == 1 else np.eye(2**k, dtype=complex)
    turn = basis_of("cx" if name == "bell_pair" else name, parameters, operand)
    inner = on(turn.conj().T, (operand,), k) @ core @ on(turn, (operand,), k)
    near, far, n = k, k + 1, k + 2
    pair = np.kron(error, I2) @ np.array([1, 0, 0, 1], dtype=complex) / math.sqrt(2)
    start = np.kron(pair[:, None], np.eye(2**k))
    cx = np.array([[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0]], dtype=complex)
    operands = tuple(far if q == operand else q for q in range(k))
    before = on(turn.conj().T, (operand,), n) @ on(first @ rest, tuple(range(k)), n)
    kraus = []
    for a, b in product(range(2), repeat=2):
        steps = [
            before,
            on(cx, (operand, near), n),
            on(np.diag([1 - a, a]).astype(complex), (near,), n),
            on(X if a else I2, (far,), n),
            on(inner, operands, n),
            on(H, (far,), n),
            on(np.diag([1 - b, b]).astype(complex), (far,), n),
            on(Z if b else I2, (operand,), n),
            on(turn, (operand,), n),
        ]
        whole = reduce(lambda made, step: step @ made, steps) @ start
        kept = whole.reshape(2, 2, 2**k, 2**k)[b, a]
        kraus.append(kept)
    return kraus


def claimed(name: str, parameters: tuple[float, ...], operand: int, letter: str) -> Matrix:
    """The gate with what copy_errors says of one error."""
    errors = copy_errors(name, parameters, operand)
    gate = np.array(gates.matrix(name, parameters))
    k = len(gate).bit_length() - 1
    if letter in {"x", "y"}:
        gate = (
            on(np.array(axis_matrix(errors.after)), (operand,), k)
            @ gate
            @ on(np.array(axis_matrix(errors.before)), (operand,), k)
        )
    if letter in {"y", "z"}:
        gate = on(np.array(axis_matrix(errors.phase)), (operand,), k) @ gate
    return gate


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_errors_of_a_copy_are_those_of_the_explicit_circuit(name: str, parameters: tuple[float, ...]) -> None:
    """Every branch of the measurements acts, up to a factor, as the gate with the claimed errors; without an error as the gate."""
    width = gates.GATES[name].num_qubits
    for operand, reach in enumerate(reaches(Kind.GATE, name, width)):
        assert reach in {Reach.SHARED, Reach.SPLIT_SHARED, Reach.SINGLE}
        for letter, error in {"": I2, **PAULIS}.items():
            wanted = claimed(name, parameters, operand, letter)
            for branch in telegate(name, parameters, operand, error):
                overlap = abs(np.trace(wanted.conj().T @ branch)) / 2**width
                assert overlap == pytest.approx(0.5, abs=1e-9), (operand, letter)


@pytest.mark.parametrize("name", ["cx", "cy", "cz", "bell_pair", "ccx"])
def test_errors_of_clifford_controls_are_paulis(name: str) -> None:
    """Axes are exact, so that stabilizer states stay stabilizer states."""
    for operand in range(gates.GATES[name].num_qubits):
        errors = copy_errors(name, (), operand)
        for axis in (errors.before, errors.after, errors.phase):
            assert sorted(abs(part) for part in axis) == [0.0, 0.0, 1.0]


def test_what_is_no_controlled_gate_takes_two_teleportations() -> None:
    """Swaps that are gates, and words that are no gates."""
    assert reaches(Kind.GATE, "swap", 2) == (Reach.THERE_AND_BACK,) * 2
    assert reaches(Kind.TELEPORT, "teleport", 2) == (Reach.THERE_AND_BACK,) * 2
    assert reaches(Kind.SYNDROME, "syndrome_extraction", 3) == (Reach.BROUGHT,) * 3
    assert reaches(Kind.GATE, "h", 1) == ()
