"""Programs with inputs: planned once, bound many times, each set with its own counts and analysis."""

from __future__ import annotations

import math

import pytest

from tests.mesh import AnyMesh

pytestmark = pytest.mark.mesh

_PROGRAM = """OPENQASM 3.0;
include "stdgates.inc";
input float theta;
qubit[2] q;
bit[2] c;
ry(theta) q[0];
cx q[0], q[1];
c = measure q;
"""
_ANGLES = [0.0, 0.4, 1.1, math.pi / 2, 2.5, math.pi]
_SHOTS = 2048


def test_a_sweep_is_planned_once_and_analysed_for_each_set(any_mesh: AnyMesh) -> None:
    """Counts and expectations of every set are its own, and live events come in order, without a gap."""
    with any_mesh.client() as client:
        sets = [{"theta": angle} for angle in _ANGLES]
        job = client.submit(_PROGRAM, shots=_SHOTS, seed=11, parameter_sets=sets)
        numbers = [event["sequence"] for event in client.events(job["job_id"])]
        done = client.wait(job["job_id"], timeout=60)
    assert numbers == list(range(1, len(numbers) + 1))
    assert (done["status"], len(done["plans"])) == ("COMPLETED", 1)
    results = done["result"]["parameter_results"]
    assert len(results) == len(_ANGLES)
    for angle, result in zip(_ANGLES, results, strict=True):
        assert result["observable_expectations"]["Z_q0"] == pytest.approx(math.cos(angle), abs=1e-9)
        p = math.sin(angle / 2) ** 2
        ones = result["counts"].get("11", 0)
        assert ones + result["counts"].get("00", 0) == _SHOTS
        assert abs(ones - _SHOTS * p) <= 5 * math.sqrt(_SHOTS * p * (1 - p)) + 1e-9


def test_one_set_gives_what_the_bound_program_gives(any_mesh: AnyMesh) -> None:
    """A value that is given at submit, and the same value in the text, are one circuit."""
    with any_mesh.client() as client:
        bound = client.submit(_PROGRAM, shots=_SHOTS, seed=11, parameters={"theta": 1.1})
        text = _PROGRAM.replace("input float theta;\n", "").replace("theta", "1.1")
        plain = client.submit(text, shots=_SHOTS, seed=11)
        first, second = (client.wait(job["job_id"], timeout=60)["result"] for job in (bound, plain))
    assert first["quantum_result"]["counts"] == second["quantum_result"]["counts"]
