"""What happens to jobs when processes die while they run."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.mesh import EXAMPLES, LocalMesh, until

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]

_FILES = ("ghz8.qasm", "bv8.qasm", "teleport.qasm", "seed.qasm", "clifford_t12.qasm", "qft6.qasm")
_SHOTS = 256


def _submit_many(mesh: LocalMesh, number: int) -> list[tuple[str, str]]:
    """Job id and file of `number` jobs, submitted at once; every file has one seed."""

    def one(index: int) -> tuple[str, str]:
        file = _FILES[index % len(_FILES)]
        with mesh.client() as client:
            job = client.submit((EXAMPLES / file).read_text(), shots=_SHOTS, seed=500 + index % len(_FILES))
        return job["job_id"], file

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, range(number)))


def _baseline(mesh: LocalMesh) -> dict[str, dict[str, int]]:
    """Counts of every file on the whole mesh."""
    return {
        file: mesh.run(file, shots=_SHOTS, seed=500 + index)["result"]["quantum_result"]["counts"]
        for index, file in enumerate(_FILES)
    }


def _finish(mesh: LocalMesh, jobs: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Every job, ended and COMPLETED."""
    ended = []
    with mesh.client() as client:
        for job_id, file in jobs:
            job = client.wait(job_id, timeout=150)
            assert job["status"] == "COMPLETED", (file, job["error"])
            ended.append(job)
    return ended


def _same_counts(
    jobs: list[tuple[str, str]], ended: list[dict[str, Any]], baseline: dict[str, dict[str, int]]
) -> None:
    for (_, file), job in zip(jobs, ended, strict=True):
        assert job["result"]["quantum_result"]["counts"] == baseline[file], file


def _one_is_executing(mesh: LocalMesh) -> None:
    with mesh.client() as client:
        until(lambda: client.jobs(limit=50, status="EXECUTING"), "a job executes", 20, 0.002)


def _nodes_of(job: dict[str, Any]) -> set[str]:
    return {fragment["node_name"] for fragment in job["result"]["fragment_results"]}


def _recorded_once(mesh: LocalMesh, jobs: list[tuple[str, str]]) -> None:
    """Every fragment of a job's last plan was committed once, and no history says twice that it completed."""
    wanted = ",".join(f"'{job_id}'" for job_id, _ in jobs)
    committed = mesh.sql(
        f"SELECT job_id, fragment_id, count(*) FROM runtime.fragment_commits WHERE job_id IN ({wanted}) GROUP BY 1, 2"  # noqa: S608 - ids that the mesh made
    )
    assert committed
    assert {row[2] for row in committed} == {1}
    with mesh.client() as client:
        for job_id, _ in jobs:
            done = Counter(
                event["fragment_id"]
                for event in client.events(job_id)
                if event["type"] == "fragment" and event.get("outcome") == "DONE"
            )
            assert not [fragment for fragment, times in done.items() if times > 1], job_id


def test_node_killed_while_jobs_run(own_mesh: LocalMesh) -> None:
    """`kill -9` of a node, which stays away: every job completes with the counts of the whole mesh, on other nodes."""
    baseline = _baseline(own_mesh)
    victim = max(own_mesh.nodes(), key=lambda name: name == "alice")
    jobs = _submit_many(own_mesh, 24)
    _one_is_executing(own_mesh)
    own_mesh.kill(victim)
    assert own_mesh.qmesh("stop", victim).returncode == 0
    ended = _finish(own_mesh, jobs)
    _same_counts(jobs, ended, baseline)
    _recorded_once(own_mesh, jobs)
    told = [job for job in ended if job["result"]["failed_attempts"] or job["result"]["parent_plan_id"]]
    assert told, "no result says that a node failed"
    late = own_mesh.run("ghz8.qasm", shots=_SHOTS, seed=500)
    assert victim not in _nodes_of(late)
    assert late["result"]["quantum_result"]["counts"] == baseline["ghz8.qasm"]


def test_runtime_killed_while_jobs_run(own_mesh: LocalMesh) -> None:
    """`kill -9` of the runtime: it is restarted, unfinished jobs finish, and no fragment is recorded twice."""
    baseline = _baseline(own_mesh)
    jobs = _submit_many(own_mesh, 24)
    _one_is_executing(own_mesh)
    old = own_mesh.kill("runtime")
    own_mesh.ready_again("runtime", old)
    ended = _finish(own_mesh, jobs)
    _same_counts(jobs, ended, baseline)
    _recorded_once(own_mesh, jobs)
    assert own_mesh.processes()["runtime"]["restarts"] == 1


@pytest.mark.parametrize(
    "service", ["planner", "reservation", "registry", "analyzer", "gateway", "nats-server", "postgres"]
)
def test_any_other_process_killed_while_jobs_run(own_mesh: LocalMesh, service: str) -> None:
    """`kill -9` of any other process: it is restarted, and every accepted job completes with the same counts."""
    baseline = _baseline(own_mesh)
    jobs = _submit_many(own_mesh, 12)
    _one_is_executing(own_mesh)
    old = own_mesh.kill(service)
    own_mesh.ready_again(service, old)
    ended = _finish(own_mesh, jobs)
    _same_counts(jobs, ended, baseline)
    _recorded_once(own_mesh, jobs)
    assert (
        own_mesh.run("ghz8.qasm", shots=_SHOTS, seed=500)["result"]["quantum_result"]["counts"]
        == baseline["ghz8.qasm"]
    )


def test_stopped_analyzer_leaves_the_execution_whole(own_mesh: LocalMesh) -> None:
    """With the analyzer stopped, a job is COMPLETED with its counts, and says that the analysis is unavailable."""
    before = own_mesh.run("ghz8.qasm", shots=_SHOTS, seed=9)["result"]["quantum_result"]["counts"]
    assert own_mesh.qmesh("stop", "analyzer").returncode == 0
    job = own_mesh.run("ghz8.qasm", shots=_SHOTS, seed=9)
    assert job["status"] == "COMPLETED", job["error"]
    quantum = job["result"]["quantum_result"]
    assert quantum["counts"] == before
    assert quantum["analysis"]["status"] == "unavailable"
    assert quantum["analysis"]["code"]
    assert quantum["statevector"] is None
    assert own_mesh.qmesh("start", "analyzer").returncode == 0
    again = own_mesh.run("ghz8.qasm", shots=_SHOTS, seed=9)["result"]["quantum_result"]
    assert again["analysis"]["status"] == "complete"


def test_no_node_no_result(own_mesh: LocalMesh) -> None:
    """With every node stopped a job FAILS with a cause that names the missing service; with the nodes back, jobs run."""
    for node in own_mesh.nodes():
        assert own_mesh.qmesh("stop", node).returncode == 0
    job = own_mesh.run("seed.qasm", shots=_SHOTS, timeout_s=60)
    assert job["status"] == "FAILED"
    assert job["error"]["code"] == "NO_CAPABLE_NODE"
    assert "bell_pair" in job["error"]["message"]
    assert not (job["result"] or {}).get("quantum_result")
    for node in ("alice", "bob", "carol", "dave"):
        assert own_mesh.qmesh("start", node).returncode == 0
    with own_mesh.client() as client:
        until(lambda: len({s["node_id"] for s in client.services()["services"]}) == 4, "every node is back")
    assert own_mesh.run("seed.qasm", shots=_SHOTS)["status"] == "COMPLETED"
