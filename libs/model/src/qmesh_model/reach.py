"""How an operand of an operation is served when its home is elsewhere, and what an error of the pair that serves it does.

A cat copy is the operand in some basis: the operand's own where the gate commutes with Z there, else the basis in which the gate is
diagonal. The gate runs from the copy, so that X on the copy acts on the operand as an axis across that basis before and after the
gate, and Z as the axis of the basis. References: Eisert et al., PRA 62 (2000) 052317; Yimsiriwattana, Lomonaco, quant-ph/0402148.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final

from qmesh_model import gates
from qmesh_model.circuit import Kind

type Axis = tuple[float, float, float]
"""Unit vector of a one-qubit error n . (X, Y, Z)."""

type Matrix = tuple[tuple[complex, complex], tuple[complex, complex]]

X_AXIS: Final[Axis] = (1.0, 0.0, 0.0)
Y_AXIS: Final[Axis] = (0.0, 1.0, 0.0)
Z_AXIS: Final[Axis] = (0.0, 0.0, 1.0)

_TOLERANCE: Final = 1e-12


class Reach(Enum):
    """How an operand is served ("E-bits" in docs/execution-model.md)."""

    SHARED = "diagonal: a cat copy serves every gate of the packet"
    SPLIT_SHARED = "a local Hadamard first, then as SHARED"
    SINGLE = "diagonal after a local change of basis: a cat copy serves this gate alone"
    THERE_AND_BACK = "two teleportations"
    BROUGHT = "the home moves"


@lru_cache(maxsize=1024)
def reaches(kind: int, name: str, width: int) -> tuple[Reach, ...]:
    """Reach of each operand of an operation; empty for one qubit.

    Args:
        kind: a `Kind`.
        name: canonical name.
        width: number of qubits.
    """
    if width == 1:
        return ()
    if kind == Kind.SYNDROME:
        return (Reach.BROUGHT,) * width
    if kind != Kind.GATE:
        return (Reach.THERE_AND_BACK,) * width
    if name == "bell_pair":
        return (Reach.SPLIT_SHARED, Reach.SINGLE)
    diagonal = gates.diagonal_operands(name)
    # A controlled one-qubit gate is diagonal after a change of basis on its target; so are rxx and ryy on both.
    simple = sum(not flag for flag in diagonal) == 1 or name in {"rxx", "ryy"}
    other = Reach.SINGLE if simple else Reach.THERE_AND_BACK
    return tuple(Reach.SHARED if flag else other for flag in diagonal)


@dataclass(frozen=True, slots=True)
class CopyErrors:
    """What errors of a cat copy do to the operand that it stands for.

    Attributes:
        before: axis of what X on the copy does before the gate.
        after: axis of what X on the copy does after the gate.
        phase: axis of what Z on the copy does, after the gate.
    """

    before: Axis
    after: Axis
    phase: Axis


@lru_cache(maxsize=4096)
def copy_errors(name: str, parameters: tuple[float, ...], operand: int) -> CopyErrors:
    """Errors of the copy of one operand of a gate.

    Args:
        name: canonical name of a gate with more than one operand.
        parameters: its values.
        operand: place of the operand; its reach is SHARED, SPLIT_SHARED or SINGLE.
    """
    if name == "bell_pair":
        return CopyErrors(Z_AXIS, X_AXIS, Z_AXIS) if operand == 0 else CopyErrors(Z_AXIS, Z_AXIS, X_AXIS)
    if gates.diagonal_operands(name)[operand]:
        return CopyErrors(X_AXIS, X_AXIS, Z_AXIS)
    axis = _axis(name, parameters, operand)
    across = _across(axis)
    return CopyErrors(across, across, axis)


def _axis(name: str, parameters: tuple[float, ...], operand: int) -> Axis:
    """Axis with which the gate commutes on an operand, whatever the others are."""
    matrix = gates.matrix(name, parameters)
    low, bit = (1 << operand) - 1, 1 << operand
    rest = [(k & low) | (k & ~low) << 1 for k in range(len(matrix) // 2)]
    vectors = [
        (
            (matrix[i][j | bit] + matrix[i | bit][j]) / 2,
            1j * (matrix[i][j | bit] - matrix[i | bit][j]) / 2,
            (matrix[i][j] - matrix[i | bit][j | bit]) / 2,
        )
        for i in rest
        for j in rest
    ]
    longest = max(vectors, key=_length)
    if _length(longest) < _TOLERANCE:
        return Z_AXIS  # it is the identity there
    phase = max(longest, key=abs)
    x, y, z = ((part / phase).real for part in longest)
    length = _length((x, y, z))
    return (_rounded(x / length), _rounded(y / length), _rounded(z / length))


def _length(vector: tuple[complex, complex, complex]) -> float:
    return math.sqrt(sum(abs(part) ** 2 for part in vector))


def _rounded(value: float) -> float:
    """Exact 0 and 1 where rounding alone kept them from it, so that Clifford gates have Pauli errors."""
    nearest = float(round(value))
    return nearest if abs(value - nearest) < _TOLERANCE else float(value)


def _across(axis: Axis) -> Axis:
    """An axis at a right angle: Z as far as it is across, else X."""
    x, y, z = axis
    if abs(z) > 1 - _TOLERANCE:
        return X_AXIS
    length = (1 - z * z) ** 0.5
    return (_rounded(-z * x / length), _rounded(-z * y / length), _rounded(length))


@lru_cache(maxsize=4096)
def axis_matrix(axis: Axis) -> Matrix:
    """The error n . (X, Y, Z)."""
    x, y, z = axis
    return ((complex(z), complex(x, -y)), (complex(x, y), complex(-z)))
