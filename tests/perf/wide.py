"""A job wider than any node, end to end: GHZ of 100 qubits over a generated topology of five nodes of 20 qubits."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.mesh import free_port, local_mesh
from tests.perf.figure import Figure, quantile

_TEXT = """OPENQASM 3.0;
include "stdgates.inc";
qubit[100] q;
bit[100] c;
h q[0];
for int i in [0:98] { cx q[i], q[i + 1]; }
c = measure q;
"""
_WARM, _JOBS = 3, 15


def run() -> list[Figure]:
    """The figures."""
    seconds = []
    with (
        tempfile.TemporaryDirectory() as folder,
        local_mesh(Path(folder) / "home", free_port(), "--nodes", "5", "--qubits", "20") as mesh,
        mesh.client() as client,
    ):
        for number in range(_WARM + _JOBS):
            begun = time.perf_counter()
            job = client.wait(client.submit(_TEXT, shots=1024, seed=number + 1)["job_id"], timeout=60)
            seconds.append(time.perf_counter() - begun)
            assert job["status"] == "COMPLETED", job["error"]
            assert job["result"]["quantum_result"]["fidelity"]["fidelity_to_target_state"] == 1
    how = f"five generated nodes of 20 qubits, 1,024 shots, {_JOBS} one after another, submit to result with analysis"
    return [
        Figure("GHZ of 100 qubits, p50", quantile(seconds[_WARM:], 0.5), "s", 1.0, how=how),
        Figure("GHZ of 100 qubits, p95", quantile(seconds[_WARM:], 0.95), "s", how="the same"),
    ]
