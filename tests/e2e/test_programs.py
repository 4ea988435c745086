"""Random programs, as nobody wrote them before, on meshes that force different splits."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from qmesh_kit.ports import free_port
from tests import oracle
from tests.mesh import AnyMesh, local_mesh
from tests.programs import program

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]

_SEEDS = range(150)
_SHOTS = 2048

type Counts = dict[int, dict[str, int]]


def _counts(mesh: AnyMesh) -> Counts:
    """Counts of every program."""

    def one(seed: int) -> tuple[int, dict[str, int]]:
        with mesh.client() as client:
            job = client.submit(program(seed).text, shots=_SHOTS, seed=seed + 1)
            ended = client.wait(job["job_id"], timeout=90)
        assert ended["status"] == "COMPLETED", (seed, ended["error"])
        assert ended["result"]["quantum_result"]["analysis"]["status"] == "complete", seed
        return seed, ended["result"]["quantum_result"]["counts"]

    with ThreadPoolExecutor(6) as pool:
        return dict(pool.map(one, _SEEDS))


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counts]:
    """Counts on three nodes of five qubits."""
    with local_mesh(tmp_path_factory.mktemp("narrow"), free_port(), "--nodes", "3", "--qubits", "5") as mesh:
        yield _counts(mesh)


def test_random_programs_fit_and_agree(any_mesh: AnyMesh, narrow: Counts) -> None:
    """Counts of each program fit its exact distribution, and are the same on the default topology and on three narrow nodes."""
    wide = _counts(any_mesh)
    for seed in _SEEDS:
        assert oracle.fit(wide[seed], program(seed).distribution()) > 1e-4 / len(_SEEDS), seed
        assert wide[seed] == narrow[seed], seed
