"""Jobs whose histories do not fit the memory of a node run in slices of shots, with the same counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qmesh_kit.ports import free_port
from tests.mesh import ROOT, local_mesh

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]

TOPOLOGY = (ROOT / "deploy/local/topology.toml").read_text()
CIRCUIT = """OPENQASM 3.0;
include "stdgates.inc";
qubit[8] q;
bit[6] m;
bit[8] c;
h q;
for int i in [0:6] { cx q[i], q[i + 1]; }
for int i in [0:5] { m[i] = measure q[i]; rx(0.3) q[i]; if (m[i]) { x q[i + 1]; } }
c = measure q;
"""
"""64 histories of 4 KiB before the last readout."""


def run(home: Path, state_bytes: str) -> dict[str, Any]:
    """The circuit on nodes with so much memory."""
    topology = home.with_suffix(".toml")
    topology.write_text(TOPOLOGY.replace('state_bytes = "1GiB"', f'state_bytes = "{state_bytes}"'))
    with local_mesh(home, free_port(), "--topology", str(topology)) as mesh:
        file = home.with_suffix(".qasm")
        file.write_text(CIRCUIT)
        return mesh.run(str(file), shots=128, seed=5)


def test_slices_change_no_count(tmp_path: Path) -> None:
    """A quarter of 256 KiB is room for 16 histories: several slices, each over the whole plan; progress counts them all."""
    whole, sliced = (run(tmp_path / size, size) for size in ("1GiB", "256KiB"))
    assert (whole["status"], sliced["status"]) == ("COMPLETED", "COMPLETED"), (
        whole["error"],
        sliced["error"],
    )
    slices = [{row["slice"] for row in job["result"]["fragment_results"]} for job in (whole, sliced)]
    assert slices[0] == {0}
    assert len(slices[1]) >= 4
    progress = sliced["progress"]
    fragments = {row["fragment_id"] for row in sliced["result"]["fragment_results"]}
    assert progress["completed_fragments"] == progress["total_fragments"] == len(fragments) * len(slices[1])
    assert sliced["result"]["quantum_result"]["counts"] == whole["result"]["quantum_result"]["counts"]
