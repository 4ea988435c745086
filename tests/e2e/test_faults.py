"""What happens to jobs when processes die while they run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from threading import Event
from typing import Any

import pytest

from tests.mesh import EXAMPLES, LocalMesh, patiently, until

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]

_FILES = ("ghz8.qasm", "bv8.qasm", "teleport.qasm", "seed.qasm", "clifford_t12.qasm", "qft6.qasm")
_SHOTS = 256
_CLIENTS = 6


@dataclass(slots=True)
class _Load:
    """Clients that submit one job after another, each waiting for its job's end.

    Attributes:
        ended: file and document of every job that has ended.
    """

    mesh: LocalMesh
    ended: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)
    _over: Event = field(default_factory=Event)

    def work(self) -> None:
        """One client."""
        while not self._over.is_set():
            number = next(self._numbers)
            index = number % len(_FILES)
            text = (EXAMPLES / _FILES[index]).read_text()
            job = patiently(self.mesh, text, f"load-{number}", shots=_SHOTS, seed=500 + index)
            self.ended.append((_FILES[index], job))

    def wait(self, more: int) -> None:
        """Until some more jobs have ended than had when this was called."""
        wanted = len(self.ended) + more
        until(lambda: len(self.ended) >= wanted, f"{more} more jobs end", 150)

    def stop(self) -> None:
        """Lets every client finish its job."""
        self._over.set()


@contextmanager
def _load(mesh: LocalMesh) -> Iterator[_Load]:
    """Jobs run while the body does; afterwards every one of them has ended, or this raises."""
    load = _Load(mesh)
    with ThreadPoolExecutor(_CLIENTS) as pool:
        clients = [pool.submit(load.work) for _ in range(_CLIENTS)]
        try:
            load.wait(_CLIENTS)
            yield load
        finally:
            load.stop()
        for client in clients:
            client.result()


def _baseline(mesh: LocalMesh) -> dict[str, dict[str, int]]:
    """Counts of every file on the whole mesh."""
    return {
        file: mesh.run(file, shots=_SHOTS, seed=500 + index)["result"]["quantum_result"]["counts"]
        for index, file in enumerate(_FILES)
    }


def _undisturbed(load: _Load, baseline: dict[str, dict[str, int]]) -> None:
    """Every job is COMPLETED, with the counts of the whole mesh."""
    for file, job in load.ended:
        assert job["status"] == "COMPLETED", (file, job["error"])
        assert job["result"]["quantum_result"]["counts"] == baseline[file], file


def _nodes_of(job: dict[str, Any]) -> set[str]:
    return {fragment["node_name"] for fragment in job["result"]["fragment_results"]}


def _recorded_once(mesh: LocalMesh, load: _Load) -> None:
    """Every fragment was committed once, and no history says twice that it completed."""
    ids = [job["job_id"] for _, job in load.ended]
    wanted = ",".join(f"'{job_id}'" for job_id in ids)
    committed = mesh.sql(
        f"SELECT job_id, fragment_id, count(*) FROM runtime.fragment_commits WHERE job_id IN ({wanted}) GROUP BY 1, 2"  # noqa: S608 - ids that the mesh made
    )
    assert committed
    assert {row[2] for row in committed} == {1}
    with mesh.client() as client:
        for job_id in ids:
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
    with _load(own_mesh) as load:
        own_mesh.kill(victim)
        assert own_mesh.qmesh("stop", victim).returncode == 0
        load.wait(2 * _CLIENTS)
    _undisturbed(load, baseline)
    _recorded_once(own_mesh, load)
    told = [
        job for _, job in load.ended if job["result"]["failed_attempts"] or job["result"]["parent_plan_id"]
    ]
    assert told, "no result says that a node failed"
    late = own_mesh.run("ghz8.qasm", shots=_SHOTS, seed=500)
    assert victim not in _nodes_of(late)
    assert late["result"]["quantum_result"]["counts"] == baseline["ghz8.qasm"]


def test_runtime_killed_while_jobs_run(own_mesh: LocalMesh) -> None:
    """`kill -9` of the runtime: it is restarted, unfinished jobs finish, and no fragment is recorded twice."""
    baseline = _baseline(own_mesh)
    with _load(own_mesh) as load:
        old = own_mesh.kill("runtime")
        own_mesh.ready_again("runtime", old)
        load.wait(2 * _CLIENTS)
    _undisturbed(load, baseline)
    _recorded_once(own_mesh, load)
    assert own_mesh.processes()["runtime"]["restarts"] == 1


@pytest.mark.parametrize(
    "service", ["planner", "reservation", "registry", "analyzer", "gateway", "nats-server", "postgres"]
)
def test_any_other_process_killed_while_jobs_run(own_mesh: LocalMesh, service: str) -> None:
    """`kill -9` of any other process: it is restarted, and every accepted job completes with the same counts."""
    baseline = _baseline(own_mesh)
    with _load(own_mesh) as load:
        old = own_mesh.kill(service)
        own_mesh.ready_again(service, old)
        load.wait(2 * _CLIENTS)
    _undisturbed(load, baseline)
    _recorded_once(own_mesh, load)


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
