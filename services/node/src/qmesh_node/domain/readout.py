"""Joint readout of terminal measurements: bits drawn one after another by descending marginal sums."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qmesh_node.domain.randomness import Uniforms, outcomes
from qmesh_node.domain.sweeps import States


def _marginal(states: States, positions: Sequence[int]) -> NDArray[np.float64]:
    """P over the wires at some positions for each row, the first most significant: shape (R, 2^m)."""
    rows, n = len(states), states.shape[1].bit_length() - 1
    real = states.view(states.real.dtype).reshape(*states.shape, 2)
    probabilities = np.einsum("rik,rik->ri", real, real, dtype=np.float64)
    # axis of the wire at position p of a little-endian index
    kept = [n - position for position in positions]
    rest = [axis for axis in range(1, n + 1) if axis not in kept]
    ordered = probabilities.reshape((rows,) + (2,) * n).transpose([0, *kept, *rest])
    total: NDArray[np.float64] = ordered.reshape(rows, 1 << len(positions), -1).sum(axis=2)
    return total


def read(
    states: States, row_of_shot: NDArray[np.uint32], positions: Sequence[int], uniforms: Sequence[Uniforms]
) -> list[NDArray[np.bool_]]:
    """Draws the bits of the wires in the given (normal-form) order for each shot.

    Args:
        states: rows of amplitudes; they do not collapse.
        row_of_shot: row of each shot.
        positions: positions of the m wires that are read.
        uniforms: m arrays of shape (shots,).

    Returns:
        m columns of shape (shots,), in the order of the wires.
    """
    levels = [_marginal(states, positions)]
    while levels[0].shape[1] > 1:
        finer = levels[0]
        levels.insert(0, finer[:, 0::2] + finer[:, 1::2])
    node = np.zeros(len(row_of_shot), dtype=np.int64)
    columns = []
    for level, u in enumerate(uniforms):
        total = levels[level][row_of_shot, node]
        zero = levels[level + 1][row_of_shot, 2 * node]
        bits = outcomes(u, zero / total)
        node = 2 * node + bits
        columns.append(bits)
    return columns
