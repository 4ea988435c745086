"""Fidelity by overlaps at the holders, through separate processes: the same as by rows that are fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qmesh_kit.ports import free_port
from tests.mesh import LocalMesh, local_mesh

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]

_HEAD = 'OPENQASM 3.0;\ninclude "stdgates.inc";\n'
_NOTHING_FETCHED = {"QMESH_RUNTIME__ROWS_LIMIT": "0B"}
_JOBS = [((4, 3, 2), True), ((4, 3, 2), False), ((9,), True)]
_DYNAMIC = _HEAD + "qubit[2] q;\nbit[2] c;\nh q;\nc[0] = measure q[0];\nif (c[0]) { x q[1]; }\nc = measure q;"


def _circuit(widths: tuple[int, ...]) -> str:
    """Components of so many qubits, none of which any tableau can express."""
    lines, first = [f"{_HEAD}qubit[{sum(widths)}] q;\nbit[{sum(widths)}] c;"], 0
    for width in widths:
        qubits = range(first, first + width)
        for layer in range(3):
            lines += [
                f"ry({0.3 + 0.17 * q + 0.1 * layer}) q[{q}]; rz({0.2 + 0.1 * q}) q[{q}];" for q in qubits
            ]
            lines += [f"cx q[{q}], q[{q + 1}];" for q in qubits[:-1]]
        first += width
    return "\n".join([*lines, "c = measure q;"])


def _done(mesh: LocalMesh, text: str, *, noise: bool) -> dict[str, Any]:
    with mesh.client() as client:
        job: dict[str, Any] = client.wait(
            client.submit(text, shots=512, seed=5, noise=noise)["job_id"], timeout=120
        )
    assert job["status"] == "COMPLETED", job["error"]
    result: dict[str, Any] = job["result"]
    return result


def _readers(result: dict[str, Any]) -> set[str]:
    """Nodes that read components at the end: their last holders."""
    return {
        row["node_id"]
        for row in result["fragment_results"]
        if row["service_type"] == "measurement_feedforward"
    }


def test_overlaps_give_the_fidelity_of_rows(tmp_path: Path) -> None:
    """Same seed, noise on and off, components at three holders and one over three homes: equal to 1e-9, and the same counts.

    A circuit with outcomes in the middle has no fidelity without rows, and says why.
    """
    shape = ("--nodes", "3", "--qubits", "4")
    with local_mesh(tmp_path / "rows", free_port(), *shape) as mesh:
        fetched = [_done(mesh, _circuit(widths), noise=noise) for widths, noise in _JOBS]
    with local_mesh(tmp_path / "overlap", free_port(), *shape, settings=_NOTHING_FETCHED) as mesh:
        compared = [_done(mesh, _circuit(widths), noise=noise) for widths, noise in _JOBS]
        dynamic = _done(mesh, _DYNAMIC, noise=True)["quantum_result"]
    assert len(_readers(compared[0])) == 3
    for (_, noise), one, other in zip(_JOBS, fetched, compared, strict=True):
        rows, overlap = one["quantum_result"], other["quantum_result"]
        assert (rows["method"], overlap["method"]) == ("rows", "holder-overlap")
        assert rows["counts"] == overlap["counts"]
        for field in ("fidelity_to_target_state", "stderr"):
            assert overlap["fidelity"][field] == pytest.approx(rows["fidelity"][field], abs=1e-9)
        assert (overlap["fidelity"]["fidelity_to_target_state"] < 0.9) == noise
        assert overlap["executed"] is None
        assert list(overlap["reasons"]) == ["executed"]
    assert dynamic["fidelity"]["fidelity_to_target_state"] is None
    assert dynamic["conditional_fidelity"] is None
    assert "NO_PURE_STATE" in dynamic["reasons"]["conditional_fidelity"]
