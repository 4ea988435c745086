"""Pairs against density matrices and published numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from qiskit.quantum_info import Kraus, Operator, SuperOp

from qmesh_model.pairs import Decay, PauliWeights, bbpssw, dejmps, distilled, swapped

Matrix = NDArray[np.complex128]

I2, X, Y, Z = (
    np.array(m, dtype=complex)
    for m in ([[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]])
)
PHI = np.array([1, 0, 0, 1], dtype=complex) / math.sqrt(2)
CX_01 = np.array([[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0]], dtype=complex)
"""Control is the least significant qubit."""

weights = st.tuples(*[st.floats(0.0, 0.2)] * 3).map(lambda w: PauliWeights(*w))


def density(pair: PauliWeights) -> Matrix:
    """Two qubits, one half of Phi+ after an error."""
    made = np.zeros((4, 4), dtype=complex)
    for weight, pauli in zip((pair.none, pair.x, pair.y, pair.z), (I2, X, Y, Z), strict=True):
        state = np.kron(pauli, I2) @ PHI
        made += weight * np.outer(state, state.conj())
    return made


def bell_weights(rho: Matrix) -> PauliWeights:
    """Weights of the Bell states of a pair."""
    states = [np.kron(pauli, I2) @ PHI for pauli in (X, Y, Z)]
    return PauliWeights(*[float((s.conj() @ rho @ s).real) for s in states])


def close(one: PauliWeights, other: PauliWeights) -> bool:
    """Equal to 1e-12."""
    return np.allclose([one.x, one.y, one.z], [other.x, other.y, other.z], atol=1e-12)


def on(pauli: Matrix, qubit: int, n: int = 4) -> Matrix:
    """A matrix on one of n qubits, little-endian."""
    made = np.eye(1, dtype=complex)
    for k in reversed(range(n)):
        made = np.kron(made, pauli if k == qubit else I2)
    return made


def round_of(pair: PauliWeights, *, rotated: bool) -> tuple[PauliWeights, float]:
    """Explicit purification: two pairs (qubits 0, 1 and 2, 3), bilateral CX, parity of the second pair measured.

    DEJMPS turns Alice's halves by exp(-i pi/4 X) and Bob's by its inverse first.
    """
    rho = np.kron(density(pair), density(pair))
    if rotated:
        turn = (I2 - 1j * X) / math.sqrt(2)
        local = on(turn, 0) @ on(turn.conj().T, 1) @ on(turn, 2) @ on(turn.conj().T, 3)
        rho = local @ rho @ local.conj().T
    cx = np.zeros((16, 16), dtype=complex)
    for i in range(16):
        cx[i ^ ((i & 1) << 2) ^ ((i >> 1 & 1) << 3), i] = 1
    rho = cx @ rho @ cx.conj().T
    keep = (np.eye(16) + on(Z, 2) @ on(Z, 3)) / 2
    rho = keep @ rho @ keep
    success = float(np.trace(rho).real)
    left = rho.reshape(4, 4, 4, 4).trace(axis1=0, axis2=2) / success
    return bell_weights(left), success


@given(weights)
def test_dejmps_is_what_its_circuit_does(pair: PauliWeights) -> None:
    """The closed form agrees with two density matrices, rotations, CX gates and a measured parity."""
    made = dejmps(pair)
    explicit, success = round_of(pair, rotated=True)
    assert made.success == pytest.approx(success, abs=1e-12)
    assert close(made.pair, explicit)


@given(st.floats(0.3, 1.0))
def test_bbpssw_is_what_its_circuit_does(fidelity: float) -> None:
    """Fidelity and success agree with the explicit circuit; what is left is a Werner pair."""
    made = bbpssw(fidelity, fidelity)
    explicit, success = round_of(PauliWeights.werner(fidelity), rotated=False)
    assert made.success == pytest.approx(success, abs=1e-12)
    assert made.pair.none == pytest.approx(explicit.none, abs=1e-12)
    assert made.pair.x == made.pair.y == made.pair.z


@pytest.mark.parametrize(
    ("first", "second", "success", "fidelity"), [(0.9, 0.9, 0.8756, 0.9264), (0.9, 0.85, 0.8467, 0.9055)]
)
def test_bbpssw_has_the_published_numbers(
    first: float, second: float, success: float, fidelity: float
) -> None:
    """Bennett et al. 1996."""
    made = bbpssw(first, second)
    assert made.success == pytest.approx(success, abs=5e-5)
    assert made.pair.none == pytest.approx(fidelity, abs=5e-5)


def test_dejmps_has_the_published_numbers() -> None:
    """Deutsch et al. 1996, weights (0.8, 0.05, 0.05, 0.1) of Phi+, Psi-, Psi+, Phi-."""
    made = dejmps(PauliWeights(x=0.05, y=0.05, z=0.1))
    assert made.success == pytest.approx(0.745, abs=5e-4)
    assert made.pair.none == pytest.approx(0.8624, abs=5e-5)


def test_rounds_cost_twice_the_pairs_over_their_success() -> None:
    """Two rounds of BBPSSW on pairs of 0.9 need (2/p1) (2/p2) raw pairs, and end above one round."""
    one, pairs = distilled(PauliWeights.werner(0.9), ("bbpssw",))
    two, more = distilled(PauliWeights.werner(0.9), ("bbpssw", "bbpssw"))
    assert pairs == pytest.approx(2 / 0.87555, rel=1e-4)
    assert more == pytest.approx(pairs * 2 / bbpssw(one.none, one.none).success)
    assert two.none > one.none > 0.9
    assert distilled(PauliWeights.werner(0.9), ()) == (PauliWeights.werner(0.9), 1.0)


@given(weights, weights)
def test_errors_in_sequence_multiply_as_paulis_do(first: PauliWeights, second: PauliWeights) -> None:
    """Composition agrees with the product of the channels."""

    def channel(w: PauliWeights) -> SuperOp:
        return SuperOp(
            Kraus([math.sqrt(p) * m for p, m in zip((w.none, w.x, w.y, w.z), (I2, X, Y, Z), strict=True)])
        )

    both = channel(first).compose(channel(second))
    assert np.allclose(both.data, channel(first.then(second)).data, atol=1e-12)


@given(st.floats(0, 10), st.floats(0.1, 10), st.floats(0.05, 2))
def test_twirled_decay_is_the_twirl_of_the_channel(time: float, t1: float, ratio: float) -> None:
    """Average of the damping and dephasing channel over Pauli frames, from its Kraus operators."""
    decay = Decay.after(time, t1, ratio * t1)
    a, p = decay.damping, decay.dephasing
    damping = Kraus([np.array([[1, 0], [0, math.sqrt(1 - a)]]), np.array([[0, math.sqrt(a)], [0, 0]])])
    flips = Kraus([math.sqrt(1 - p) * I2, math.sqrt(p) * Z])
    channel = SuperOp(damping).compose(SuperOp(flips))
    mean = (
        sum(SuperOp(Operator(m)).compose(channel).compose(SuperOp(Operator(m))).data for m in (I2, X, Y, Z))
        / 4
    )
    twirl = decay.twirled()
    pauli = SuperOp(
        Kraus(
            [
                math.sqrt(max(0, w)) * m
                for w, m in zip((twirl.none, twirl.x, twirl.y, twirl.z), (I2, X, Y, Z), strict=True)
            ]
        )
    )
    assert np.allclose(mean, pauli.data, atol=1e-9)
    coherence = math.exp(-time / (ratio * t1))
    assert 1 - 2 * (twirl.y + twirl.z) == pytest.approx(coherence, abs=1e-9)


def test_a_perfect_memory_does_not_decay() -> None:
    """T1 and T2 of 0 stand for no decay; no time neither."""
    assert Decay.after(5.0, 0.0, 0.0) == Decay(0.0, 0.0)
    assert Decay.after(0.0, 1.0, 1.0) == Decay(0.0, 0.0)
    assert Decay.after(1.0, 1.0, 99.0).dephasing == 0.0


@given(st.floats(0.25, 1), st.floats(0.25, 1))
def test_swapping_multiplies_depolarising_weights(first: float, second: float) -> None:
    """Of the result w = (4F - 1)/3 is the product."""
    made = swapped(first, second)
    assert (4 * made - 1) / 3 == pytest.approx((4 * first - 1) / 3 * (4 * second - 1) / 3, abs=1e-12)
    assert made == pytest.approx(PauliWeights.werner(first).then(PauliWeights.werner(second)).none, abs=1e-12)
