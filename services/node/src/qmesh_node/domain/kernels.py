"""Elementwise kernels that apply a gate to rows of amplitudes in place.

Amplitudes are `states[R, 2^n]`, little-endian: wire at position 0 is the least significant bit of the index.
No BLAS is used, so that one operation gives the same bytes wherever it runs on one CPU family.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from qmesh_model import gates

States = NDArray[np.complexfloating]
Matrix = tuple[tuple[complex, ...], ...]


@lru_cache(maxsize=4096)
def gate_matrix(name: str, parameters: tuple[float, ...]) -> Matrix:
    """Matrix of a catalogue gate, first operand least significant."""
    return gates.matrix(name, parameters)


def _slices(states: States, positions: tuple[int, ...]) -> list[States]:
    """Views of the amplitudes for every value of the operand bits; index bit k belongs to positions[k]."""
    rows, dimension = states.shape
    n = dimension.bit_length() - 1
    shape = [rows]
    upper = n
    for position in sorted(positions, reverse=True):
        shape += [1 << (upper - position - 1), 2]
        upper = position
    view = states.reshape([*shape, 1 << upper])
    rank = {position: index for index, position in enumerate(sorted(positions, reverse=True))}
    result = []
    for value in range(1 << len(positions)):
        index: list[slice | int] = [slice(None)] * view.ndim
        for bit, position in enumerate(positions):
            index[2 + 2 * rank[position]] = (value >> bit) & 1
        result.append(view[tuple(index)])
    return result


def apply_matrix(states: States, positions: tuple[int, ...], matrix: Matrix) -> None:
    """Applies a 2^k x 2^k matrix to the wires at the given positions of every row, in place.

    Rows of the matrix that are identity rows cost nothing; diagonal and permutation gates therefore touch only
    what they change.
    """
    size = len(matrix)
    moving = [i for i in range(size) if any(matrix[i][j] != (1.0 if i == j else 0.0) for j in range(size))]
    if not moving:
        return
    slices = _slices(states, positions)
    sources = {j for i in moving for j in range(size) if matrix[i][j] != 0 and j != i and j in moving}
    kept = {j: slices[j].copy() for j in sources}
    for i in moving:
        target = slices[i]
        diagonal = matrix[i][i]
        others = [(j, matrix[i][j]) for j in range(size) if j != i and matrix[i][j] != 0]
        if diagonal == 0 and others:
            j, factor = others.pop(0)
            source = kept[j] if j in kept else slices[j]
            if factor == 1:
                target[...] = source
            else:
                np.multiply(source, factor, out=target)
        elif diagonal != 1:
            np.multiply(target, diagonal, out=target)
        for j, factor in others:
            target += factor * (kept[j] if j in kept else slices[j])


def apply_to_rows(
    states: States, positions: tuple[int, ...], matrix: Matrix, rows: NDArray[np.intp] | None
) -> None:
    """Applies a matrix to some rows only; None means all."""
    if rows is None or len(rows) == len(states):
        apply_matrix(states, positions, matrix)
    elif len(rows):
        part = states[rows]
        apply_matrix(part, positions, matrix)
        states[rows] = part


def zero_probability(states: States, position: int) -> NDArray[np.float64]:
    """P(wire = 0) for each row: shape (R,)."""
    zero, one = _slices(states, (position,))
    p0 = _norms(zero)
    return p0 / (p0 + _norms(one))


def _norms(part: States) -> NDArray[np.float64]:
    flat = part.reshape(part.shape[0], -1)
    total: NDArray[np.float64] = np.sum(flat.real**2 + flat.imag**2, axis=1, dtype=np.float64)
    return total


def project(states: States, position: int, bits: NDArray[np.bool_]) -> None:
    """Projects each row on its bit of the wire and normalises it, in place."""
    zero, one = _slices(states, (position,))
    zero[bits] = 0
    one[~bits] = 0
    norms = np.sqrt(_norms(states))
    states /= norms[:, None]


def _pauli_applied(states: States, positions: Sequence[int], pauli: Sequence[int]) -> States:
    """A Pauli product applied to a copy of all rows."""
    acted = states.copy()
    for position, letter in zip(positions, pauli, strict=True):
        if letter:
            apply_matrix(acted, (position,), _PAULIS[letter])
    return acted


def pauli_zero_probability(
    states: States, positions: Sequence[int], pauli: Sequence[int]
) -> NDArray[np.float64]:
    """P(eigenvalue +1) of a Pauli product for each row: shape (R,)."""
    acted = _pauli_applied(states, positions, pauli)
    overlap = np.sum(states.real * acted.real + states.imag * acted.imag, axis=1, dtype=np.float64)
    result: NDArray[np.float64] = np.clip((1 + overlap / _norms(states)) / 2, 0.0, 1.0)
    return result


def project_pauli(
    states: States, positions: Sequence[int], pauli: Sequence[int], sign: NDArray[np.float64]
) -> None:
    """Projects each row on the eigenvalue +1 or -1 of a Pauli product and normalises it; sign 0 leaves a row alone."""
    acted = _pauli_applied(states, positions, pauli)
    acted *= sign[:, None]
    chosen = sign != 0
    states += acted
    states[chosen] /= np.sqrt(_norms(states[chosen]))[:, None]


def apply_pauli(states: States, position: int, letter: int, rows: NDArray[np.intp]) -> None:
    """Applies X (1), Y (2) or Z (3) to some rows, in place; 0 does nothing."""
    if letter:
        apply_to_rows(states, (position,), _PAULIS[letter], rows)


_PAULIS: tuple[Matrix, ...] = (
    ((1, 0), (0, 1)),
    ((0, 1), (1, 0)),
    ((0, -1j), (1j, 0)),
    ((1, 0), (0, -1)),
)
