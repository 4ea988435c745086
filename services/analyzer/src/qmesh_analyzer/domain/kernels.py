"""Arithmetic on `states[B, 2^n]`: one row for each branch, little-endian, qubit q is bit q of the column index."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

States = NDArray[np.complex128]
Matrix = NDArray[np.complex128]
Reals = NDArray[np.float64]


def width(states: States) -> int:
    """Number of qubits."""
    return int(states.shape[-1]).bit_length() - 1


def apply(states: States, matrix: Matrix, qubits: Sequence[int]) -> None:
    """A matrix on some qubits of every row, in place; the first operand is its least significant bit.

    Rows of the matrix that are rows of the identity cost nothing, so a controlled gate touches only what it changes.
    """
    shape, indices = _slices(width(states), tuple(qubits))
    tensor = states.reshape(-1, *shape)
    views = [tensor[index] for index in indices]
    fresh = {}
    for row, terms in _terms(matrix.tobytes(), len(views)):
        (column, weight), *rest = terms
        total = views[column].copy() if weight == 1 else views[column] * weight
        for column, weight in rest:
            total += views[column] * weight
        fresh[row] = total
    for row, total in fresh.items():
        views[row][...] = total


@lru_cache(maxsize=4096)
def _slices(above: int, qubits: tuple[int, ...]) -> tuple[list[int], list[tuple[slice | int, ...]]]:
    """Shape of a row of `above` qubits in which the operands have axes of their own, and where each of their patterns is."""
    shape, axes = list[int](), dict[int, int]()
    for qubit in sorted(qubits, reverse=True):  # as few axes as there can be: each costs time
        shape += [1 << above - qubit - 1, 2]
        axes[qubit] = len(shape)  # after the axis of the rows
        above = qubit
    shape.append(1 << above)
    indices = []
    for pattern in range(1 << len(qubits)):
        index: list[slice | int] = [slice(None)] * (len(shape) + 1)
        for place, qubit in enumerate(qubits):
            index[axes[qubit]] = pattern >> place & 1
        indices.append(tuple(index))
    return shape, indices


@lru_cache(maxsize=1024)
def _terms(matrix: bytes, size: int) -> list[tuple[int, list[tuple[int, complex]]]]:
    """Non-zero elements of every row that is no row of the identity."""
    rows = np.frombuffer(matrix, dtype=np.complex128).reshape(size, size)
    elements = [[(column, complex(row[column])) for column in np.flatnonzero(row).tolist()] for row in rows]
    return [(row, terms) for row, terms in enumerate(elements) if terms != [(row, 1)]]


def norms(states: States) -> Reals:
    """Squared norm of every row."""
    flat = states.view(np.float64)
    total: Reals = np.einsum("bi,bi->b", flat, flat)
    return total


def pauli(states: States, flips: int, phases: int) -> States:
    """X on the qubits of one mask after Z on those of another, as a new array: Y is both, without its factor i."""
    index = np.arange(states.shape[1])
    acted: States = np.take(states, index ^ flips, axis=1) if flips else states.copy()
    if phases:
        acted *= 1.0 - 2.0 * (np.bitwise_count((index ^ flips) & phases) & 1)
    return acted


def walsh_hadamard(values: NDArray[np.float64] | States) -> None:
    """Unnormalised Walsh-Hadamard transform along the last axis, in place."""
    for q in range(values.shape[-1].bit_length() - 1):
        view = values.reshape(-1, 2, 1 << q)
        low, high = view[:, 0, :], view[:, 1, :]
        difference = low - high
        low += high
        high[...] = difference


def marginal(values: Reals, qubits: Sequence[int]) -> Reals:
    """Marginal of a distribution over qubits; bit k of the index belongs to qubits[k]."""
    n = values.size.bit_length() - 1
    kept = [n - 1 - q for q in reversed(qubits)]
    rest = [axis for axis in range(n) if axis not in kept]
    ordered = values.reshape((2,) * n).transpose([*kept, *rest])
    total: Reals = ordered.reshape(1 << len(qubits), -1).sum(axis=1)
    return total
