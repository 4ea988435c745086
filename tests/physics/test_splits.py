"""One seed gives one answer, however a plan splits, batches and orders a program."""

from __future__ import annotations

import pytest

from tests.physics.splits import try_splits


@pytest.mark.parametrize("seed", range(40))
def test_every_split_gives_the_same_counts_and_qiskits_distribution(seed: int) -> None:
    """One to five nodes, amplitudes and tableaux, random orders of blocks, a block executed again; `make soak` tries 500."""
    found = try_splits(7_000 + seed, max_qubits=7, shots=512)
    assert not found.findings
    assert found.fit > 1e-4 / 40
