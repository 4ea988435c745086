"""Circuits wider than any node: 100 qubits as a stabilizer state, 22 qubits as amplitudes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from qmesh_kit.ports import free_port
from tests.mesh import LocalMesh, local_mesh

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]

_HEAD = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    """Five nodes of 20 qubits."""
    home = tmp_path_factory.mktemp("wide")
    with local_mesh(home, free_port(), "--nodes", "5", "--qubits", "20") as mesh:
        yield mesh


def _done(mesh: LocalMesh, text: str, **options: Any) -> dict[str, Any]:
    with mesh.client() as client:
        job: dict[str, Any] = client.wait(client.submit(text, **options)["job_id"], timeout=120)
        plan = client.plan(job["plan_id"])
    assert job["status"] == "COMPLETED", job["error"]
    ran = {fragment["executor"] for fragment in job["result"]["fragment_results"]}
    assert ran <= {block["executor"] for block in plan["blocks"]}
    return job | {"nodes": {home["node_id"] for home in plan["homes"]}, "executors": ran}


@pytest.mark.parametrize("noise", [False, True])
def test_ghz_of_a_hundred_qubits(wide: LocalMesh, noise: bool) -> None:
    """Two outcomes without noise, on five nodes, with the executed state compared by its stabilizers; noise lowers the fidelity."""
    text = (
        _HEAD
        + "qubit[100] q;\nbit[100] c;\nh q[0];\nfor int i in [0:98] { cx q[i], q[i + 1]; }\nc = measure q;"
    )
    job = _done(wide, text, shots=1024, seed=4, noise=noise)
    assert len(job["nodes"]) == 5
    assert job["executors"] == {"stabilizer"}
    result = job["result"]["quantum_result"]
    assert (result["ideal_method"], result["method"]) == ("stabilizer", "stabilizer")
    fidelity = result["fidelity"]["fidelity_to_target_state"]
    if noise:
        assert 0 < fidelity < 1
        assert len(result["counts"]) > 2
        return
    assert fidelity == 1
    assert sum(result["counts"].values()) == 1024
    assert set(result["counts"]) == {"0" * 100, "1" * 100}
    assert result["entanglement_entropy"]["q50|rest"] == 1


def test_twenty_two_qubits_of_amplitudes_over_two_nodes(wide: LocalMesh) -> None:
    """A circuit that no tableau can express, and its inverse, on 22 entangled qubits with homes on two nodes: all bits are 0.

    Its 64 MiB stay where they are, and are compared there.
    """
    gates = [
        "h q;",
        "for int i in [0:20] { cx q[i], q[i + 1]; t q[i + 1]; cp(pi / 5) q[21 - i], q[20 - i]; }",
    ]
    undone = [
        "for int i in [0:20] { cp(-pi / 5) q[i + 1], q[i]; tdg q[21 - i]; cx q[20 - i], q[21 - i]; }",
        "h q;",
    ]
    text = _HEAD + "qubit[22] q;\nbit[22] c;\n" + "\n".join([*gates, *undone]) + "\nc = measure q;"
    job = _done(wide, text, shots=256, seed=4)
    assert len(job["nodes"]) >= 2
    result = job["result"]["quantum_result"]
    assert result["counts"] == {"0" * 22: 256}
    assert result["method"] == "holder-overlap"
    assert result["fidelity"]["fidelity_to_target_state"] == pytest.approx(1, abs=1e-9)
