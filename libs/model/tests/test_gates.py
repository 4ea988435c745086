"""The gate catalogue against Qiskit and against its own algebra."""

import math

import numpy as np
import pytest
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.circuit.library import standard_gates as std
from qiskit.quantum_info import Operator

from qmesh_model import gates, matrices

PARAMS = (0.3, 0.7, -1.1, 0.4)
EXTRA = {
    "u2": std.U2Gate(0.3, 0.7),
    "cu3": std.CU3Gate(0.3, 0.7, -1.1),
    "c3x": std.C3XGate(),
    "c4x": std.C4XGate(),
}
EXTRA |= {
    "c3sqrtx": std.C3SXGate(),
    "rc3x": std.RC3XGate(),
    "teleport": std.SwapGate(),
    "rccx": std.RCCXGate(),
}


EXTRA |= {f"c{k}p": std.MCPhaseGate(0.3, k) for k in (2, 3, 4)}


def phased(controls: int) -> np.ndarray:
    """E^(i gamma) U under controls that come first, by its blocks."""
    size = 2 << controls
    found = np.eye(size, dtype=complex)
    places = np.ix_([size // 2 - 1, size - 1], [size // 2 - 1, size - 1])
    found[places] = np.exp(0.4j) * Operator(std.UGate(0.3, 0.7, -1.1)).data
    return found


def oracle(name: str) -> np.ndarray | None:
    """Qiskit's matrix of a gate, when it has one."""
    if name in {"c2u", "c3u", "c4u"}:
        return phased(int(name[1]))
    if name in EXTRA:
        return np.asarray(Operator(EXTRA[name]).data)
    found = get_standard_gate_name_mapping().get(name)
    if found is None:
        return None
    count = gates.GATES[name].num_params
    return np.asarray(Operator(found.base_class(*PARAMS[:count]) if count else found).data)


def array(name: str) -> np.ndarray:
    """Our matrix with the same parameters."""
    return np.array(gates.matrix(name, PARAMS[: gates.GATES[name].num_params]))


@pytest.mark.parametrize("name", sorted(set(gates.GATES) - {"bell_pair", "u0"}))
def test_matrix_is_qiskits(name: str) -> None:
    """Every gate's matrix equals Qiskit's operator, little-endian, global phase included."""
    expected = oracle(name)
    assert expected is not None
    np.testing.assert_allclose(array(name), expected, atol=1e-12)


def test_bell_pair_is_h_then_cx() -> None:
    """`bell_pair` maps 00 to (00 + 11) / sqrt 2."""
    np.testing.assert_allclose(array("bell_pair")[:, 0], [math.sqrt(0.5), 0, 0, math.sqrt(0.5)], atol=1e-12)


@pytest.mark.parametrize("name", sorted(gates.GATES))
def test_adjoint_undoes_the_gate(name: str) -> None:
    """A gate followed by the steps of its adjoint is the identity."""
    gate = gates.GATES[name]
    product = array(name)
    for step, params, operands in gates.adjoint(name, PARAMS[: gate.num_params]):
        values = gates.numeric(params)
        assert values is not None
        product = np.array(matrices.embed(gates.matrix(step, values), operands, gate.num_qubits)) @ product
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-12)


@pytest.mark.parametrize("name", sorted(gates.GATES))
def test_diagonal_flags_hold_for_other_angles(name: str) -> None:
    """An operand that is called diagonal commutes with Z for other parameter values too."""
    for operand, diagonal in enumerate(gates.diagonal_operands(name)):
        assert not diagonal or matrices.is_diagonal_on(
            gates.matrix(name, PARAMS[: gates.GATES[name].num_params]), operand
        )


def test_libraries_are_covered() -> None:
    """Every name of qelib1.inc and stdgates.inc resolves."""
    assert all(gates.resolve(name) for name in gates.QELIB1 | gates.STDGATES | gates.UNITARY_WORDS)
