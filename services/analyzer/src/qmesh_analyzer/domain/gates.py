"""Unitaries by Qiskit's own definitions, independent of the mesh's gate catalogue.

A wrong entry in that catalogue must show as infidelity, so nothing here is taken from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Gate, QuantumCircuit
from qiskit.circuit.library import (
    CU1Gate,
    CU3Gate,
    CUGate,
    MCPhaseGate,
    PhaseGate,
    SwapGate,
    U1Gate,
    U2Gate,
    U3Gate,
    UGate,
    UnitaryGate,
    get_standard_gate_name_mapping,
)
from qiskit.quantum_info import Operator

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh_analyzer.domain.errors import AnalysisError

Unitary = NDArray[np.complex128]

_STANDARD = get_standard_gate_name_mapping()
_BY_NAME: dict[str, Callable[..., Gate]] = {
    "cnot": lambda: _STANDARD["cx"],
    "hadamard": lambda: _STANDARD["h"],
    "teleport": SwapGate,
    "controlled_unitary": CUGate,
    "programmable_gate": UGate,
    "U": UGate,
    "u": UGate,
    "u1": U1Gate,
    "u2": U2Gate,
    "u3": U3Gate,
    "p": PhaseGate,
    "cu": CUGate,
    "cu1": CU1Gate,
    "cu3": CU3Gate,
    "CX": lambda: _STANDARD["cx"],
    "i": lambda: _STANDARD["id"],
    "toffoli": lambda: _STANDARD["ccx"],
    "u0": lambda _: _STANDARD["id"],  # an idle cycle; Qiskit's own constructor takes integers only
}
_PHASES: dict[str, int] = {"c2p": 2, "c3p": 3, "c4p": 4}
_CONTROLLED: dict[str, int] = {"c2u": 2, "c3u": 3, "c4u": 4}
SWAP: Unitary = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=np.complex128)
"""Swap of two qubits; `teleport` is one too."""


def gate_of(name: str, parameters: Sequence[float]) -> Gate:
    """Qiskit's gate for a canonical name.

    Raises:
        AnalysisError: Qiskit has no such gate, or it takes other parameters.
    """
    try:
        if name in _BY_NAME:
            return _BY_NAME[name](*parameters)
        known = _STANDARD.get(name)
        if known is not None:
            return known.base_class(*parameters) if parameters else known
        return _composite(name, parameters)
    except TypeError:
        raise AnalysisError("INVALID_ARGUMENT", f"gate {name!r} does not take these parameters") from None


def _composite(name: str, parameters: Sequence[float]) -> Gate:
    if name == "bell_pair":
        pair = QuantumCircuit(2, name="bell_pair")
        pair.h(0)
        pair.cx(0, 1)
        return pair.to_gate()
    if name in _PHASES:
        return MCPhaseGate(*parameters, _PHASES[name])
    if name in _CONTROLLED:
        return _controlled_u(_CONTROLLED[name], *parameters)
    from qiskit import qasm2

    for legacy in qasm2.LEGACY_CUSTOM_INSTRUCTIONS:
        if legacy.name == name and callable(legacy.constructor):
            made = legacy.constructor(*parameters)
            if isinstance(made, Gate):
                return made
    raise AnalysisError("UNSUPPORTED_GATE", f"no independent definition of gate {name!r}")


def _controlled_u(controls: int, theta: float, phi: float, lam: float, gamma: float) -> Gate:
    """E^(i gamma) U on the last qubit where all the others are 1."""
    half = 1 << controls
    matrix = np.eye(2 * half, dtype=np.complex128)
    places = np.ix_([half - 1, 2 * half - 1], [half - 1, 2 * half - 1])
    matrix[places] = np.exp(1j * gamma) * UGate(theta, phi, lam).to_matrix()
    return UnitaryGate(matrix)


@lru_cache(maxsize=4096)
def unitary(name: str, parameters: tuple[float, ...]) -> Unitary:
    """Matrix of a gate, first operand least significant."""
    gate = gate_of(name, parameters)
    return np.asarray(Operator(gate).data, dtype=np.complex128)


def unitary_of(operation: circuit.Operation) -> Unitary:
    """Matrix of a gate operation.

    Raises:
        AnalysisError: unknown gate, unbound parameters, or other operands than the gate has.
    """
    if operation.parameters and any(p.WhichOneof("kind") == "expression" for p in operation.parameters):
        raise AnalysisError("INVALID_ARGUMENT", f"a parameter of gate {operation.name!r} is not bound")
    matrix = unitary(operation.name, tuple(parameter.value for parameter in operation.parameters))
    if len(matrix) != 1 << len(operation.qubits) or len(set(operation.qubits)) != len(operation.qubits):
        raise AnalysisError("INVALID_ARGUMENT", f"gate {operation.name!r} does not have these operands")
    return matrix
