"""Fidelity of states that are too large to be fetched: dense and noisy jobs whose rows stay at their holders."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from qmesh_kit.ports import free_port
from tests.mesh import LocalMesh, local_mesh
from tests.perf.figure import Figure

_JOBS = (
    ("20 qubits", (20,), 1024, False),
    ("22 qubits", (22,), 1024, False),
    ("16 qubits, noisy", (16,), 1024, True),
    ("14 and 6 qubits, noisy", (14, 6), 1024, True),
    ("20 qubits, noisy", (20,), 64, True),
)
_LAYERS = 2
_NODES, _QUBITS = 4, 10


def _circuit(widths: tuple[int, ...]) -> str:
    """Entangled components of so many qubits, none of which any tableau can express."""
    total, first = sum(widths), 0
    lines = [f'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[{total}] q;\nbit[{total}] c;']
    for width in widths:
        qubits = range(first, first + width)
        for layer in range(_LAYERS):
            lines += [f"ry({0.3 + 0.17 * q + 0.1 * layer}) q[{q}];" for q in qubits]
            lines += [f"cx q[{q}], q[{q + 1}];" for q in qubits[:-1]]
        first += width
    return "\n".join([*lines, "c = measure q;"])


def _compared(mesh: LocalMesh, job_id: str) -> list[dict[str, Any]]:
    """What the runtime's log says of the comparisons of a job."""
    lines = (mesh.home / "logs" / "runtime.log").read_text().splitlines()
    entries = [json.loads(line) for line in lines if line.startswith("{")]
    return [e for e in entries if e["event"] == "compared by the holders" and e["job_id"] == job_id]


def run() -> list[Figure]:
    """The figures."""
    figures = []
    with (
        tempfile.TemporaryDirectory() as folder,
        local_mesh(
            Path(folder) / "home", free_port(), "--nodes", str(_NODES), "--qubits", str(_QUBITS)
        ) as mesh,
        mesh.client() as client,
    ):
        for name, widths, shots, noise in _JOBS:
            begun = time.perf_counter()
            submitted = client.submit(_circuit(widths), shots=shots, seed=7, noise=noise)
            job = client.wait(submitted["job_id"], timeout=290)
            seconds = time.perf_counter() - begun
            assert job["status"] == "COMPLETED", job["error"]
            result = job["result"]["quantum_result"]
            assert result["method"] == "holder-overlap", result["reasons"]
            fidelity, found = result["fidelity"], _compared(mesh, job["job_id"])
            rows = sum(max(entry["rows"]) for entry in found)
            how = (
                f"{_NODES} nodes of {_QUBITS} qubits, {shots:,} shots in {len(found)} slice(s), {rows} histories; "
                f"fidelity {fidelity['fidelity_to_target_state']:.6f} +- {fidelity['stderr']:.6f}"
            )
            spent = sum(entry["seconds"] for entry in found)
            figures += [
                Figure(f"{name}: submit to result", seconds, "s", how=how),
                Figure(f"{name}: factors, push and overlaps", spent, "s", how="of it, by the runtime's log"),
            ]
    return figures
