"""Overlaps at the holders against whole states: the arithmetic of analyzer, node and runtime in one process."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qmesh_analyzer.domain.factors import factors_of
from qmesh_node.domain.ensemble import Ensemble
from qmesh_node.domain.overlap import overlaps
from qmesh_runtime.domain.overlap import Factors, HolderOverlaps, spread_of


@pytest.mark.parametrize("lost", [False, True])
def test_a_wrong_plan_gives_the_infidelity_that_it_has(lost: bool) -> None:
    """An ideal state that is entangled over the executed components, or all of it where nothing was executed, in seven shots.

    Factors by the analyzer, overlaps by the node, products by the runtime: the mean of |<ideal|executed>|^2 of the whole states.
    """
    rng = np.random.default_rng(6)

    def drawn(rows: int, qubits: int) -> Any:
        states = rng.normal(size=(rows, 2 << qubits)).view(np.complex128)
        return states / np.linalg.norm(states, axis=1)[:, None]

    ideal = drawn(1, 7)[0]
    if lost:
        ideal[:64] = 0  # qubit 6 is of no component, and so |0> in what is executed
    ideal /= np.linalg.norm(ideal)
    components, counts, shots = [[4, 0], [2], [1, 5, 3]], (3, 2, 4), 7
    factors = factors_of(ideal, components)
    parts = [
        Ensemble(tuple(qubits), drawn(rows, len(qubits)), rng.integers(rows, size=shots).astype(np.uint32))
        for qubits, rows in zip(components, counts, strict=True)
    ]
    answers = [
        HolderOverlaps(part.rows, overlaps(part, vectors.copy()).tobytes(), part.row_of_shot.tobytes())
        for part, vectors in zip(parts, factors.vectors, strict=True)
    ]
    told = Factors(tuple(factors.weights.tolist()), factors.remainder, (b"",) * 3)
    spread = spread_of(told, answers)
    exact = []
    for shot in range(shots):
        executed = np.zeros(128, dtype=np.complex128)
        for index in range(64):
            amplitude = 1.0 + 0j
            for part, qubits in zip(parts, components, strict=True):
                place = sum((index >> qubit & 1) << k for k, qubit in enumerate(qubits))
                amplitude *= part.states[part.row_of_shot[shot], place]
            executed[index] = amplitude
        exact.append(abs(np.vdot(ideal, executed)) ** 2)
    assert (len(factors.weights) > 1) is not lost
    assert (spread.mean == 0) is lost
    assert spread.mean == pytest.approx(np.mean(exact), abs=1e-12)
    assert spread.stderr == pytest.approx(np.std(exact, ddof=1) / shots**0.5, abs=1e-12)
    assert not spread.lower_bound
