import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"


def _qmesh(home: Path, port: int, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"QMESH_HOME": str(home), "QMESH_GATEWAY__PORT": str(port)}
    command = [sys.executable, "-m", "qmesh_client", *words]
    return subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.mesh
@pytest.mark.parametrize("option", ["--once", "--submit"])
def test_once_ends_with_the_jobs_exit_code_and_without_a_mesh(
    tmp_path: Path, free_port: int, option: str
) -> None:
    """Without a terminal a mesh is started for one circuit, shows its result and is gone, whatever came of it."""
    good = option == "--once"
    circuit = EXAMPLES / "seed.qasm" if good else tmp_path / "bad.qasm"
    if not good:
        circuit.write_text("OPENQASM 3;\nqubit q;\nhh q;\n")
    ended = _qmesh(tmp_path / "home", free_port, "up", option, str(circuit))
    assert ended.returncode == (0 if good else 4), ended.stderr
    assert ("COMPLETED" in ended.stdout) is good
    status = _qmesh(tmp_path / "home", free_port, "status", "--json")
    assert status.returncode == 3
    assert json.loads(status.stdout)["state"] == "stopped"
