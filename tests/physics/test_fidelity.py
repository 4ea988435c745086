"""The executed state of noisy circuits over several nodes: planner, request builder and executor against density matrices."""

from __future__ import annotations

import numpy as np

from tests.physics.sampled import compare


def test_sampled_fidelity_agrees_with_the_density_matrix() -> None:
    """Gates, pairs with their packets, moves, waiting and distillation: no circuit is off, and the errors have no bias."""
    found = [compare(seed, max_qubits=6, shots=1500) for seed in range(60)]
    scores = np.array([score for one in found for score in one.scores])
    assert sum(one.pairs for one in found) > 60
    assert np.abs(scores).max() < 4
    assert (np.abs(scores) <= 2).sum() >= 52  # 57 are expected; fewer than 52 are one in a hundred
    assert abs(scores.mean()) < 4 / np.sqrt(len(scores))
