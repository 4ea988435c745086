"""One seed gives one answer, however a plan splits, batches and orders a program."""

from __future__ import annotations

import pytest

from qmesh_model import wire
from qmesh_model.parser import parse
from tests import oracle
from tests.mesh import EXAMPLES
from tests.physics.splits import counts_on, snapshot_of, try_splits


@pytest.mark.parametrize("seed", range(40))
def test_every_split_gives_the_same_counts_and_qiskits_distribution(seed: int) -> None:
    """One to five nodes, amplitudes and tableaux, random orders of blocks, a block executed again; `make soak` tries 500."""
    found = try_splits(7_000 + seed, max_qubits=7, shots=512)
    assert not found.findings
    assert found.fit > 1e-4 / 40


@pytest.mark.parametrize(
    "file", ["teleport", "ghz_feedforward", "repeat_until_success", "phase_estimation", "grover_teleported"]
)
def test_dynamic_examples_are_spread_and_exact(file: str) -> None:
    """Feed-forward over one, two and more nodes: one answer, and the distribution of the circuit with its measurements deferred."""
    form = wire.to_proto(parse((EXAMPLES / f"{file}.qasm").read_text()))
    qubits, found = form.num_qubits, []
    for sizes in ([qubits], [qubits // 2 + 1] * 2, [2] * (qubits // 2 + 1)):
        topology = snapshot_of(sizes)
        found.append(counts_on(form, topology, seed=7, shots=4096))
    assert found[0] == found[1] == found[2]
    assert oracle.fit(found[0], oracle.distribution(f"{file}.qasm")) > 1e-4
