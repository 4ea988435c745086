"""Joint readout of terminal measurements: bits drawn one after another by descending marginal sums."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qmesh_node.domain.ensemble import Ensemble
from qmesh_node.domain.randomness import Uniforms, outcomes


def _marginal(ensemble: Ensemble, wires: Sequence[int]) -> NDArray[np.float64]:
    """P over the given wires for each row, first wire most significant: shape (R, 2^m)."""
    n = len(ensemble.wires)
    states = ensemble.states
    probabilities = (states.real.astype(np.float64) ** 2 + states.imag.astype(np.float64) ** 2).reshape(
        (ensemble.rows,) + (2,) * n
    )
    # axis of the wire at position p of a little-endian index
    kept = [n - ensemble.position(wire) for wire in wires]
    rest = [axis for axis in range(1, n + 1) if axis not in kept]
    ordered = probabilities.transpose([0, *kept, *rest]).reshape(ensemble.rows, 1 << len(wires), -1)
    total: NDArray[np.float64] = ordered.sum(axis=2)
    return total


def read(ensemble: Ensemble, wires: Sequence[int], uniforms: Sequence[Uniforms]) -> list[NDArray[np.bool_]]:
    """Draws the bits of the wires in the given (normal-form) order for each shot.

    Args:
        ensemble: the component; it is not changed and does not collapse.
        wires: the m wires that are read.
        uniforms: m arrays of shape (shots,).

    Returns:
        m columns of shape (shots,), in the order of the wires.
    """
    levels = [_marginal(ensemble, wires)]
    while levels[0].shape[1] > 1:
        finer = levels[0]
        levels.insert(0, finer[:, 0::2] + finer[:, 1::2])
    row = ensemble.row_of_shot
    node = np.zeros(len(row), dtype=np.int64)
    columns = []
    for level, u in enumerate(uniforms):
        total = levels[level][row, node]
        zero = levels[level + 1][row, 2 * node]
        bits = outcomes(u, zero / total)
        node = 2 * node + bits
        columns.append(bits)
    return columns
