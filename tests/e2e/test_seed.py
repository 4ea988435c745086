"""The seed's circuit, as a newcomer runs it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from qmesh_kit.ports import free_port
from tests.mesh import EXAMPLES, AnyMesh, LocalMesh, leftovers

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(240)]


def test_seed_result(any_mesh: AnyMesh) -> None:
    """q0 is always 0, basis states 00 and 10 have 0.5 each, <Z_q0> is 1, and the Bloch vector of q1 is (1, 0, 0)."""
    job = any_mesh.run("seed.qasm", shots=512, seed=7)
    assert job["status"] == "COMPLETED", job["error"]
    quantum = job["result"]["quantum_result"]
    assert quantum["counts"] == {"0": 512}
    assert {k: pytest.approx(v) for k, v in quantum["probabilities"].items() if v > 1e-9} == {
        "00": 0.5,
        "10": 0.5,
    }
    assert quantum["observable_expectations"]["Z_q0"] == pytest.approx(1.0)
    assert quantum["bloch_vectors"]["q1"] == pytest.approx([1.0, 0.0, 0.0])
    fragments = job["result"]["fragment_results"]
    assert [f["service_type"] for f in fragments] == [
        "bell_pair", "cnot", "cz", "teleportation", "syndrome_extraction", "distillation", "measurement_feedforward",
    ]  # fmt: skip
    for fragment in fragments:
        assert fragment["status"] == "COMPLETED"
        assert fragment["attempts"][-1]["outcome"] == "DONE"
        assert fragment["observed_fidelity"] == 1.0
        assert fragment["signature"]


def test_once_runs_the_job_and_leaves_nothing(tmp_path: Path) -> None:
    """`qmesh up --once FILE` shows the result, exits 0, and no process stays."""
    mesh = LocalMesh(tmp_path / "home", free_port())
    done = mesh.qmesh("up", "--once", str(EXAMPLES / "seed.qasm"))
    assert done.returncode == 0, done.stderr
    assert "COMPLETED" in done.stdout
    for service in ("bell_pair", "cnot", "teleportation"):
        assert re.search(rf"{service}.*\b(alice|bob|carol|dave)\b", done.stdout), done.stdout
    assert leftovers(mesh.home) == []


def test_submit_prints_one_document(any_mesh: AnyMesh) -> None:
    """`qmesh submit --json` prints the whole job document on stdout and nothing else."""
    done = any_mesh.qmesh("submit", str(EXAMPLES / "ghz8.qasm"), "--shots", "256", "--seed", "3", "--json")
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    assert job["status"] == "COMPLETED"
    assert set(job["result"]["quantum_result"]["counts"]) == {"00000000", "11111111"}


def test_bad_circuit_is_refused_at_submit(any_mesh: AnyMesh) -> None:
    """A bad circuit is 422 with code, line, column and hint; the command line draws it and exits 4."""
    import httpx

    text = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q;\nhh q[0];\n'
    answer = httpx.post(
        f"{any_mesh.url}/api/v1/circuits/submit",
        json={"circuit": text},
        headers=any_mesh.headers(),
        trust_env=False,
    )
    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("application/problem+json")
    (error,) = answer.json()["errors"]
    assert (error["line"], error["column"], error["code"]) == (4, 1, "QASM212")
    assert "h" in error["hint"]
    bad = any_mesh.home / "bad.qasm"
    bad.write_text(text)
    done = any_mesh.qmesh("submit", str(bad))
    assert done.returncode == 4
    assert "hh q[0];" in done.stdout + done.stderr
    assert "^" in done.stdout + done.stderr
