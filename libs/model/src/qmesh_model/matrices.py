"""Matrices of gates as tuples of rows of complex numbers.

Little-endian: the first operand is the least significant bit of the index (the convention of Qiskit).

Responsible for closed forms, control and composition; the catalogue of names is `gates`.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from typing import Final

type Matrix = tuple[tuple[complex, ...], ...]
"""Rows of a square matrix of dimension 2**n."""

type Placed = tuple[Matrix, tuple[int, ...]]
"""A matrix and the operands that it acts on, least significant first."""

_R: Final = math.sqrt(0.5)

ID: Final[Matrix] = ((1, 0), (0, 1))
X: Final[Matrix] = ((0, 1), (1, 0))
Y: Final[Matrix] = ((0, -1j), (1j, 0))
Z: Final[Matrix] = ((1, 0), (0, -1))
H: Final[Matrix] = ((_R, _R), (_R, -_R))
S: Final[Matrix] = ((1, 0), (0, 1j))
SDG: Final[Matrix] = ((1, 0), (0, -1j))
T: Final[Matrix] = ((1, 0), (0, complex(_R, _R)))
TDG: Final[Matrix] = ((1, 0), (0, complex(_R, -_R)))
SX: Final[Matrix] = ((0.5 + 0.5j, 0.5 - 0.5j), (0.5 - 0.5j, 0.5 + 0.5j))
SXDG: Final[Matrix] = ((0.5 - 0.5j, 0.5 + 0.5j), (0.5 + 0.5j, 0.5 - 0.5j))
SWAP: Final[Matrix] = ((1, 0, 0, 0), (0, 0, 1, 0), (0, 1, 0, 0), (0, 0, 0, 1))
ISWAP: Final[Matrix] = ((1, 0, 0, 0), (0, 0, 1j, 0), (0, 1j, 0, 0), (0, 0, 0, 1))
DCX: Final[Matrix] = ((1, 0, 0, 0), (0, 0, 0, 1), (0, 1, 0, 0), (0, 0, 1, 0))
ECR: Final[Matrix] = (
    (0, _R, 0, _R * 1j),
    (_R, 0, -_R * 1j, 0),
    (0, _R * 1j, 0, _R),
    (-_R * 1j, 0, _R, 0),
)


def phase(angle: float) -> Matrix:
    """diag(1, e^(i angle))."""
    return ((1, 0), (0, cmath.exp(1j * angle)))


def u(theta: float, phi: float, lam: float) -> Matrix:
    """The general one-qubit gate with a real upper left element.

    OpenQASM 3 gives its `U` a further global phase e^(i theta / 2); like Qiskit, the mesh leaves it out.
    """
    c, s = math.cos(theta / 2), math.sin(theta / 2)
    return (
        (c, -cmath.exp(1j * lam) * s),
        (cmath.exp(1j * phi) * s, cmath.exp(1j * (phi + lam)) * c),
    )


def u2(phi: float, lam: float) -> Matrix:
    """U(pi/2, phi, lambda)."""
    return u(math.pi / 2, phi, lam)


def rx(theta: float) -> Matrix:
    """exp(-i theta X / 2)."""
    c, s = math.cos(theta / 2), math.sin(theta / 2)
    return ((c, -1j * s), (-1j * s, c))


def ry(theta: float) -> Matrix:
    """exp(-i theta Y / 2)."""
    c, s = math.cos(theta / 2), math.sin(theta / 2)
    return ((c, -s), (s, c))


def rz(theta: float) -> Matrix:
    """exp(-i theta Z / 2)."""
    return ((cmath.exp(-0.5j * theta), 0), (0, cmath.exp(0.5j * theta)))


def rxx(theta: float) -> Matrix:
    """exp(-i theta XX / 2)."""
    c, s = math.cos(theta / 2), -1j * math.sin(theta / 2)
    return ((c, 0, 0, s), (0, c, s, 0), (0, s, c, 0), (s, 0, 0, c))


def ryy(theta: float) -> Matrix:
    """exp(-i theta YY / 2)."""
    c, s = math.cos(theta / 2), -1j * math.sin(theta / 2)
    return ((c, 0, 0, -s), (0, c, s, 0), (0, s, c, 0), (-s, 0, 0, c))


def rzz(theta: float) -> Matrix:
    """exp(-i theta ZZ / 2)."""
    even, odd = cmath.exp(-0.5j * theta), cmath.exp(0.5j * theta)
    return ((even, 0, 0, 0), (0, odd, 0, 0), (0, 0, odd, 0), (0, 0, 0, even))


def phased_u(theta: float, phi: float, lam: float, gamma: float) -> Matrix:
    """e^(i gamma) U(theta, phi, lambda)."""
    return scale(u(theta, phi, lam), cmath.exp(1j * gamma))


def control(matrix: Matrix, controls: int = 1) -> Matrix:
    """The matrix with control qubits put before its operands."""
    low = 1 << controls
    size = low * len(matrix)
    rows = [[complex(i == j) for j in range(size)] for i in range(size)]
    for i, row in enumerate(matrix):
        for j, value in enumerate(row):
            rows[low - 1 + low * i][low - 1 + low * j] = complex(value)
    return tuple(map(tuple, rows))


def multiply(left: Matrix, right: Matrix) -> Matrix:
    """The product left times right."""
    columns = tuple(zip(*right, strict=True))
    return tuple(
        tuple(sum((a * b for a, b in zip(row, column, strict=True) if a and b), 0j) for column in columns)
        for row in left
    )


def scale(matrix: Matrix, factor: complex) -> Matrix:
    """The matrix times a number."""
    return tuple(tuple(factor * value for value in row) for row in matrix)


def dagger(matrix: Matrix) -> Matrix:
    """The adjoint."""
    return tuple(
        tuple(complex(value).conjugate() for value in column) for column in zip(*matrix, strict=True)
    )


def embed(matrix: Matrix, operands: Sequence[int], num_qubits: int) -> Matrix:
    """The matrix acting on some of `num_qubits` qubits, identity on the others."""
    size = 1 << num_qubits
    mask = sum(1 << q for q in operands)
    spread = [sum((i >> k & 1) << q for k, q in enumerate(operands)) for i in range(len(matrix))]
    place = {bits: i for i, bits in enumerate(spread)}
    rows = [[0j] * size for _ in range(size)]
    for column in range(size):
        rest, source = column & ~mask, place[column & mask]
        for target, bits in enumerate(spread):
            rows[rest | bits][column] = complex(matrix[target][source])
    return tuple(map(tuple, rows))


def compose(num_qubits: int, steps: Sequence[Placed]) -> Matrix:
    """The product of placed matrices, the first step acting first."""
    result = embed(ID, (0,), num_qubits)
    for matrix, operands in steps:
        result = multiply(embed(matrix, operands, num_qubits), result)
    return result


_CX: Final = control(X)


def bell_pair() -> Matrix:
    """H on the first operand, then CX from it to the second."""
    return compose(2, [(H, (0,)), (_CX, (0, 1))])


def rccx() -> Matrix:
    """Toffoli up to relative phases (qelib1.inc)."""
    c: tuple[int, ...] = (2,)
    steps: list[Placed] = [(H, c), (T, c), (_CX, (1, 2)), (TDG, c), (_CX, (0, 2)), (T, c)]
    return compose(3, [*steps, (_CX, (1, 2)), (TDG, c), (H, c)])


def rc3x() -> Matrix:
    """Three-controlled X up to relative phases (qelib1.inc)."""
    d: tuple[int, ...] = (3,)
    ends: list[Placed] = [(H, d), (T, d), (_CX, (2, 3)), (TDG, d), (H, d)]
    middle: list[Placed] = [(_CX, (0, 3)), (T, d), (_CX, (1, 3)), (TDG, d)]
    return compose(4, [*ends, *middle, *middle, *ends])


def is_diagonal_on(matrix: Matrix, operand: int, *, tolerance: float = 1e-12) -> bool:
    """Whether the matrix commutes with Z on one operand."""
    bit = 1 << operand
    return all(
        abs(value) <= tolerance or not (i ^ j) & bit
        for i, row in enumerate(matrix)
        for j, value in enumerate(row)
    )


def is_permutation(matrix: Matrix, *, tolerance: float = 1e-12) -> bool:
    """Whether each row holds one element of modulus 1 and nothing else (phases allowed)."""
    return all(sum(abs(value) > tolerance for value in row) == 1 for row in matrix)


def is_clifford(matrix: Matrix, *, tolerance: float = 1e-9) -> bool:
    """Whether conjugation maps each Pauli generator to a Pauli string up to a sign."""
    num_qubits = len(matrix).bit_length() - 1
    inverse = dagger(matrix)
    for qubit in range(num_qubits):
        for pauli in (X, Z):
            image = multiply(multiply(matrix, embed(pauli, (qubit,), num_qubits)), inverse)
            if not _is_pauli(image, tolerance):
                return False
    return True


def _is_pauli(matrix: Matrix, tolerance: float) -> bool:
    """Whether the matrix is a Pauli string times a unit factor: one shift, phases that are a character."""
    shift = next((j for j, value in enumerate(matrix[0]) if abs(value) > tolerance), 0)
    values = []
    for i, row in enumerate(matrix):
        value = row[i ^ shift]
        if abs(abs(value) - 1) > tolerance or sum(abs(other) > tolerance for other in row) != 1:
            return False
        values.append(value / matrix[0][shift])
    basis = [values[1 << k] for k in range(len(matrix).bit_length() - 1)]
    for i, value in enumerate(values):
        expected = math.prod((b for k, b in enumerate(basis) if i >> k & 1), start=1 + 0j)
        if abs(value - expected) > tolerance:
            return False
    return all(abs(abs(b.real) - 1) <= tolerance for b in basis)
