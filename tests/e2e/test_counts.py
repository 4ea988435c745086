"""Counts come from the nodes: they fit Qiskit's exact distribution, and one seed gives one answer everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from qmesh_kit.ports import free_port
from tests import oracle
from tests.mesh import EXAMPLES, AnyMesh, local_mesh

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]

FILES = sorted(path.name for path in EXAMPLES.glob("*.qasm"))
STRATEGIES = ("cost", "centralized")
SHOTS = 1024
SEED = 20260


def test_every_example_has_an_oracle() -> None:
    """No example goes unchecked."""
    assert set(FILES) == set(oracle.CIRCUITS)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("seed", [1, 2])
def test_counts_fit_the_exact_distribution(any_mesh: AnyMesh, file: str, seed: int) -> None:
    """Chi-square against monolithic Qiskit, p > 1e-4; wide circuits are spread over two nodes at least."""
    job = any_mesh.run(file, shots=4096, seed=seed)
    assert job["status"] == "COMPLETED", job["error"]
    counts = job["result"]["quantum_result"]["counts"]
    assert sum(counts.values()) == 4096
    assert oracle.fit(counts, oracle.distribution(file)) > 1e-4, counts
    width = oracle.CIRCUITS[file]().num_qubits
    with any_mesh.client() as client:
        homes = {home["node_id"] for home in client.plan(job["plan_id"])["homes"]}
    assert len(homes) >= (2 if width > 6 else 1), (
        "six data qubits are the most that a node of this topology has"
    )


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int, str], dict[str, int]]:
    """Counts of every example on 1, 2, 4 and 6 nodes of 12 qubits with every strategy."""
    found = {}
    for number in (1, 2, 4, 6):
        home = tmp_path_factory.mktemp(f"nodes{number}")
        with local_mesh(home, free_port(), "--nodes", str(number), "--qubits", "12") as mesh:
            for file in FILES:
                for strategy in STRATEGIES:
                    job = mesh.run(file, shots=SHOTS, seed=SEED, strategy=strategy)
                    assert job["status"] == "COMPLETED", (number, file, strategy, job["error"])
                    found[file, number, strategy] = job["result"]["quantum_result"]["counts"]
    return found


@pytest.mark.parametrize("file", FILES)
def test_one_seed_gives_the_same_counts(
    answers: dict[tuple[str, int, str], dict[str, int]], any_mesh: AnyMesh, file: str
) -> None:
    """1, 2, 4 and 6 nodes and every strategy give equal counts, and so does the default topology."""
    default = any_mesh.run(file, shots=SHOTS, seed=SEED)["result"]["quantum_result"]["counts"]
    for (name, number, strategy), counts in answers.items():
        if name == file:
            assert counts == default, (number, strategy)


def test_forced_spread_gives_the_same_counts(
    answers: dict[tuple[str, int, str], dict[str, int]], tmp_path: Path
) -> None:
    """Six nodes of two qubits, where every wide circuit must be spread, give the counts of one node of twelve."""
    with local_mesh(tmp_path / "home", free_port(), "--nodes", "6", "--qubits", "2") as mesh:
        for file in FILES:
            job = mesh.run(file, shots=SHOTS, seed=SEED)
            assert job["status"] == "COMPLETED", (file, job["error"])
            assert job["result"]["quantum_result"]["counts"] == answers[file, 1, "cost"], file


@pytest.mark.parametrize("file", ["clifford_t12.qasm", "qft6.qasm", "phase_estimation.qasm"])
def test_single_precision_fits_the_exact_distribution(any_mesh: AnyMesh, file: str) -> None:
    """A job of single precision is recorded as such, takes less room, and is as right as its precision lets it be."""
    jobs = {p: any_mesh.run(file, shots=4096, seed=SEED, precision=p) for p in ("double", "single")}
    room = {}
    for precision, job in jobs.items():
        assert job["status"] == "COMPLETED", job["error"]
        assert (job["precision"], job["result"]["precision"]) == (precision, precision)
        with any_mesh.client() as client:
            plan = client.plan(job["plan_id"])
        assert plan["precision"] == precision
        room[precision] = sum(block["state_bytes"] for block in plan["blocks"])
    assert room["single"] < room["double"]
    insight = jobs["single"]["result"]["quantum_result"]
    assert oracle.fit(insight["counts"], oracle.distribution(file)) > 1e-4
    fidelity = insight["fidelity"]["fidelity_to_target_state"] or insight["conditional_fidelity"]["value"]
    assert abs(fidelity - 1) < 1e-5
