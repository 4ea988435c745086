"""Errors of delivered pairs, as the exact channels of the remote gates that they serve.

A Werner pair of fidelity F has X, Y or Z with probability (1 - F)/3 each. Teleportation leaves that Pauli on the wire. A cat copy gives the
gates of its packet a control that is flipped (X, Y), all of them alike, and its wire a phase (Z, Y) once. A gate that is not diagonal
on the wire runs from the copy between two local changes of basis, in which flip and phase have to be taken.
References: Bennett et al., PRL 70 (1993) 1895; Eisert et al., PRA 62 (2000) 052317; Yimsiriwattana, Lomonaco, quant-ph/0402148.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh_node.domain import kernels
from qmesh_node.domain.forms import Matrix

X: Matrix = ((0, 1), (1, 0))
Y: Matrix = ((0, -1j), (1j, 0))
Z: Matrix = ((1, 0), (0, -1))
PAULIS = (X, Y, Z)
"""By the number of the drawn letter less one."""
_EXACT = 1e-13


@dataclass(frozen=True, slots=True)
class Copy:
    """What a flipped copy does before and after the gate, and what a phase leaves after it."""

    before: Matrix
    after: Matrix
    phase: Matrix


@dataclass(frozen=True, slots=True)
class Use:
    """One pair at one operation: a copy, or a Pauli error before or after it."""

    ebit: gate.EbitUse
    copy: Copy | None
    late: bool = False


def uses_of(operation: gate.NodeOperation) -> list[Use]:
    """How the pairs of an operation act; of two teleportations of one wire the second brings it back."""
    seen: set[int] = set()
    made = []
    for ebit in operation.ebits:
        copy = None
        if (
            ebit.kind == "cat"
            and ebit.wire in operation.wires
            and operation.kind == circuit.OPERATION_KIND_GATE
        ):
            place = list(operation.wires).index(ebit.wire)
            copy = copy_of(operation.name, tuple(operation.parameters), place)
        made.append(Use(ebit, copy, late=ebit.wire in seen))
        seen.add(ebit.wire)
    return made


@lru_cache(maxsize=4096)
def copy_of(name: str, parameters: tuple[float, ...], operand: int) -> Copy | None:
    """A gate run from a cat copy of one operand; None when it cannot be."""
    if name == "bell_pair":  # H on the first operand comes before the copy is made
        return Copy(Z, X, Z) if operand == 0 else Copy(Z, Z, X)
    matrix = np.array(kernels.gate_matrix(name, parameters), dtype=np.complex128)
    basis = _basis(_blocks(matrix, operand))
    if basis is None:
        return None
    flip, phase = (_exact(basis @ np.array(pauli) @ basis.conj().T) for pauli in (X, Z))
    return Copy(flip, flip, phase)


def _blocks(matrix: NDArray[np.complex128], operand: int) -> list[NDArray[np.complex128]]:
    """What the gate does to one operand, for each pair of values of the others."""
    width = len(matrix).bit_length() - 1
    tensor = matrix.reshape((2,) * (2 * width))
    axes = width - 1 - operand, 2 * width - 1 - operand
    moved = np.moveaxis(tensor, axes, (-2, -1)).reshape(-1, 2, 2)
    return [block for block in moved if np.abs(block).max() > _EXACT]


def _basis(blocks: Sequence[NDArray[np.complex128]]) -> NDArray[np.complex128] | None:
    """The basis in which all blocks are diagonal; the computational one where it will do."""
    identity = np.eye(2, dtype=np.complex128)
    parts = [part for block in blocks for part in (block + block.conj().T, 1j * (block - block.conj().T))]
    candidates = [identity] + [
        np.linalg.eigh(part)[1].astype(np.complex128)
        for part in parts
        if np.abs(part - part[0, 0] * identity).max() > _EXACT
    ]
    for basis in candidates:
        if all(
            abs(value) < _EXACT for block in blocks for value in _off_diagonal(basis.conj().T @ block @ basis)
        ):
            return basis
    return None


def _off_diagonal(block: NDArray[np.complex128]) -> tuple[complex, complex]:
    return complex(block[0, 1]), complex(block[1, 0])


def _exact(matrix: NDArray[np.complex128]) -> Matrix:
    """The same with parts that are 0 or 1 but for rounding made so."""
    parts = matrix.view(np.float64)
    near = np.abs(parts - np.round(parts)) < _EXACT
    parts[near] = np.round(parts[near])
    return tuple(tuple(complex(value) for value in row) for row in matrix)
