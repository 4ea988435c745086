"""Overlaps of components with factors, against plain inner products."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from qmesh_node.domain.ensemble import Ensemble
from qmesh_node.domain.errors import ExhaustedError, InvalidBlockError
from qmesh_node.domain.expansion import expanded
from qmesh_node.domain.overlap import overlaps, working_bytes
from qmesh_node.domain.tableau import Tableau


def _factors(qubits: int, terms: int) -> np.ndarray[tuple[int, int], np.dtype[np.complex128]]:
    made = np.random.default_rng(qubits).normal(size=(terms, 2 << qubits)).view(np.complex128)
    return made / np.linalg.norm(made, axis=1)[:, None]


@pytest.mark.parametrize("single", [False, True])
def test_rows_of_amplitudes(single: bool) -> None:
    """<factor|row> of normalised rows, whatever norm single precision has left them."""
    rows: Any = np.random.default_rng(1).normal(size=(6, 16)).view(np.complex128)
    rows = rows.astype(np.complex64) if single else rows
    component = Ensemble((2, 0, 1), rows, np.zeros(4, dtype=np.uint32))
    factors = _factors(3, 2)
    expected = factors.conj() @ (rows / np.linalg.norm(rows, axis=1)[:, None]).T
    assert overlaps(component, factors.copy()) == pytest.approx(expected, abs=1e-6 if single else 1e-14)


def test_histories_of_a_tableau(lab: ModuleType) -> None:
    """One history after another gives the overlaps of all of them expanded at once, each up to one phase for all factors."""
    circuit = lab.parsed(
        "h q[0]; cx q[0], q[1]; s q[1]; c[0] = measure q[0]; h q[2]; cz q[1], q[2]; h q[1]; h q[0];", 3, 1
    )
    run = lab.run_cuts(circuit, lab.cut(circuit, None), lab.Draws(5, 0, 32), stabilizer=True)
    (component,) = (part for part in run.last() if len(part.wires) == 3)
    assert isinstance(component, Tableau)
    assert component.rows == 2
    factors = _factors(3, 2)
    states = expanded(component, np.complex128).states
    found, expected = overlaps(component, factors.copy()), factors.conj() @ states.T
    assert np.abs(found) == pytest.approx(np.abs(expected), abs=1e-14)
    assert found[0] * found[1].conj() == pytest.approx(expected[0] * expected[1].conj(), abs=1e-14)


@pytest.mark.parametrize("wrong", [0.0, 1.1, np.nan, np.inf])
def test_factors_that_are_not_normalised(wrong: float) -> None:
    """They are refused: their overlaps would mean nothing."""
    component = Ensemble.zero(0, 4, np.complex128)
    with pytest.raises(InvalidBlockError):
        overlaps(component, np.array([[1, 0], [wrong, 0]], dtype=np.complex128))


def test_a_tableau_of_too_many_amplitudes_is_refused(lab: ModuleType) -> None:
    """Before anything is allocated; what fits counts factors, one expanded history, and the answer."""
    circuit = lab.parsed("h q[0]; " + " ".join(f"cx q[{k}], q[{k + 1}];" for k in range(24)), 25)
    run = lab.run_cuts(circuit, lab.cut(circuit, None), lab.Draws(5, 0, 8), stabilizer=True)
    with pytest.raises(ExhaustedError):
        working_bytes(run.last()[0], 1)
    assert working_bytes(Ensemble.zero(0, 8, np.complex128), 3) == 16 * 3 * 2 + 2 * (16 * 3 + 4 * 8)
