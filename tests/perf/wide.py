"""Jobs wider than any node, end to end: GHZ of 100 qubits over five nodes of 20, dense states of 22 and 24 qubits over two nodes."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

from qmesh_kit.ports import free_port
from tests.mesh import local_mesh
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
_DENSE = (22, 24)
_GATES = 60


def _dense(qubits: int) -> str:
    """A circuit of one component: Hadamard gates, a chain of CX, then random gates of one and two qubits."""
    rng = random.Random(qubits)
    lines = ["OPENQASM 3.0;", 'include "stdgates.inc";', f"qubit[{qubits}] q;", f"bit[{qubits}] c;", "h q;"]
    lines += [f"cx q[{number}], q[{number + 1}];" for number in range(qubits - 1)]
    for _ in range(_GATES):
        a, b = rng.sample(range(qubits), 2)
        lines.append(
            rng.choice(
                (f"rx({rng.random():.3f}) q[{a}];", f"t q[{a}];", f"cp({rng.random():.3f}) q[{a}], q[{b}];")
            )
        )
    return "\n".join([*lines, "c = measure q;", ""])


def _ghz() -> list[Figure]:
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


def _spread(qubits: int) -> Figure:
    """One dense job whose wires have their homes on two nodes, of which neither has all."""
    half = qubits // 2
    with (
        tempfile.TemporaryDirectory() as folder,
        local_mesh(
            Path(folder) / "home",
            free_port(),
            "--nodes",
            "2",
            "--qubits",
            str(half),
            settings={"QMESH_NODE__DENSE_QUBITS": str(qubits)},
        ) as mesh,
        mesh.client() as client,
    ):
        begun = time.perf_counter()
        job = client.wait(
            client.submit(_dense(qubits), shots=1024, seed=1, timeout_s=300)["job_id"], timeout=300
        )
        seconds = time.perf_counter() - begun
        assert job["status"] == "COMPLETED", job["error"]
        assert len({home["node_id"] for home in client.plan(job["plan_id"])["homes"]}) == 2
    result = job["result"]
    fidelity = result["quantum_result"]["fidelity"]
    how = (
        f"two generated nodes of {half} qubits, {qubits - 1 + qubits + _GATES} gates, {result['ebits']['total']} e-bits, "
        f"fidelity {fidelity['fidelity_to_target_state']} ({result['quantum_result']['method']})"
    )
    return Figure(f"dense state of {qubits} qubits, submit to result", seconds, "s", how=how)


def run() -> list[Figure]:
    """The figures."""
    return [*_ghz(), *(_spread(qubits) for qubits in _DENSE)]
