"""Overlaps of a component's histories with factors of an ideal state."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qmesh_node.domain.ensemble import Ensemble
from qmesh_node.domain.errors import ExhaustedError, InvalidBlockError
from qmesh_node.domain.expansion import expanded
from qmesh_node.domain.sweeps import States
from qmesh_node.domain.tableau import Part, Tableau

Factors = NDArray[np.complex128]

_NORM_TOLERANCE = 1e-6
_MOST_EXPANDED = 1 << 24
"""Amplitudes of all histories of a stabilizer component that are made for one comparison."""
_EXPANDED_BYTES = 64
"""Bytes that an amplitude takes while a history is expanded."""


def working_bytes(component: Part, terms: int) -> int:
    """Bytes that a comparison with so many factors takes beside the component.

    Raises:
        ExhaustedError: a stabilizer component has too many histories to be expanded.
    """
    qubits = len(component.wires)
    answer = 2 * (16 * terms * component.rows + int(component.row_of_shot.nbytes))
    if isinstance(component, Ensemble):
        return (16 * terms << qubits) + answer
    if component.rows << qubits > _MOST_EXPANDED:
        raise ExhaustedError(
            f"{component.rows} stabilizer histories of {qubits} qubits are too many to be expanded"
        )
    return ((16 * terms + _EXPANDED_BYTES) << qubits) + answer


def overlaps(component: Part, factors: Factors) -> NDArray[np.complex128]:
    """<factor|row> of every factor with every normalised row: shape (terms, R).

    Args:
        component: R rows over n wires.
        factors: normalised vectors, shape (terms, 2^n), in the wire order of the component; conjugated in place.

    Raises:
        InvalidBlockError: they are not normalised.
    """
    norms = np.einsum("kn,kn->k", factors.view(np.float64), factors.view(np.float64))
    if not (np.abs(norms - 1) < _NORM_TOLERANCE).all():  # also when a number is not finite
        raise InvalidBlockError("the factors are not normalised")
    np.conjugate(factors, out=factors)
    if isinstance(component, Ensemble):
        return _of_rows(component.states, factors)
    made = np.empty((len(factors), component.rows), dtype=np.complex128)
    for row in range(component.rows):  # one after another: all of them may not fit
        made[:, row] = _of_rows(_history(component, row), factors)[:, 0]
    return made


def _of_rows(states: States, conjugated: Factors) -> NDArray[np.complex128]:
    reals = states.view(states.real.dtype)
    norms = np.einsum("rk,rk->r", reals, reals, dtype=np.float64)
    made = np.empty((len(conjugated), len(states)), dtype=np.complex128)
    for term, factor in enumerate(conjugated):
        np.einsum("rk,k->r", states, factor, out=made[term])
    made /= np.sqrt(norms)
    return made


def _history(tableau: Tableau, row: int) -> States:
    """One history as amplitudes, up to a phase."""
    one = Tableau(
        tableau.wires,
        tableau.x,
        tableau.z,
        tableau.signs,
        tableau.flips[row : row + 1],
        np.zeros(1, dtype=np.uint32),
    )
    return expanded(one, np.complex128).states
