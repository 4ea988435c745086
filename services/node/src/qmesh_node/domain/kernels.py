"""What is done to rows of amplitudes in place: gates, measurements of a wire or of a Pauli product, Pauli errors.

Amplitudes are `states[R, 2^n]`, little-endian: wire at position 0 is the least significant bit of the index.
No BLAS is used, so that one operation gives the same bytes wherever it runs on one CPU family.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from qmesh_model import gates
from qmesh_node.domain.forms import Matrix
from qmesh_node.domain.sweeps import Run, States


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


def apply_matrix(
    states: States, positions: Sequence[int], matrix: Matrix, rows: NDArray[np.intp] | None = None
) -> None:
    """Applies a 2^k x 2^k matrix to the wires at the given positions of some rows (None: all), in place."""
    if rows is None or len(rows):
        run = Run()
        run.add(matrix, positions)
        run.apply(states, rows)


def zero_probability(states: States, position: int) -> NDArray[np.float64]:
    """P(wire = 0) for each row: shape (R,)."""
    zero, one = _slices(states, (position,))
    p0 = _norms(zero)
    return p0 / (p0 + _norms(one))


def _norms(part: States) -> NDArray[np.float64]:
    flat = part.reshape(part.shape[0], -1)
    total: NDArray[np.float64] = np.sum(flat.real**2 + flat.imag**2, axis=1, dtype=np.float64)
    return total


def damp(states: States, position: int, damping: float) -> None:
    """What amplitude damping does to rows that have not relaxed: |1> fades, and rows are normalised. In place.

    Args:
        states: shape (R, 2^n).
        position: the wire.
        damping: probability that |1> would have relaxed.
    """
    ones = 1.0 - zero_probability(states, position)
    _slices(states, (position,))[1][...] *= np.sqrt(1.0 - damping)
    states *= (1.0 / np.sqrt(1.0 - damping * ones)).astype(states.real.dtype)[:, None]


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
        apply_matrix(states, (position,), _PAULIS[letter], rows)


_PAULIS: tuple[Matrix, ...] = (
    ((1, 0), (0, 1)),
    ((0, 1), (1, 0)),
    ((0, -1j), (1j, 0)),
    ((1, 0), (0, -1)),
)
