"""Random processes die by SIGKILL, again and again, while clients submit random programs: every job completes with undisturbed counts."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

from qmesh_client.mesh import MeshRefusedError, MeshUnreachableError
from qmesh_kit.ports import free_port
from tests.mesh import LocalMesh, local_mesh, patiently
from tests.programs import program
from tests.soak.evidence import Evidence

_SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
_PROGRAMS = 40
_CLIENTS = 6
_SHOTS = 512
_PAUSE = (1.0, 8.0)
_PATIENCE = 180.0
_VICTIMS = (
    "alice", "bob", "carol", "dave", "gateway", "planner", "registry", "reservation", "runtime", "analyzer",
    "nats-server", "postgres",
)  # fmt: skip


def _job(mesh: LocalMesh, seed: int, key: str) -> dict[str, Any]:
    return patiently(mesh, program(seed).text, key, _PATIENCE, shots=_SHOTS, seed=seed + 1)


def _kill_at_random(mesh: LocalMesh, random: Random, over: threading.Event) -> Counter[str]:
    """Kills until `over`; how often each died."""
    killed: Counter[str] = Counter()
    while not over.wait(random.uniform(*_PAUSE)):
        name = random.choice(_VICTIMS)
        pid = mesh.processes()[name]["pid"]
        if pid is not None:
            os.kill(int(pid), signal.SIGKILL)
            killed[name] += 1
    return killed


def _judge(seed: int, job: dict[str, Any], expected: dict[int, dict[str, int]]) -> str | None:
    """What is wrong with a job."""
    if job["status"] != "COMPLETED":
        return f"program {seed}, job {job['job_id']}: {job['status']} {job['error']}"
    if job["result"]["quantum_result"]["counts"] != expected[seed]:
        return f"program {seed}, job {job['job_id']}: other counts than on the undisturbed mesh"
    return None


def run() -> Evidence:
    """For ten minutes (SOAK_SECONDS: others)."""
    random = Random(20261130)
    findings: list[str] = []
    with tempfile.TemporaryDirectory() as folder, local_mesh(Path(folder) / "home", free_port()) as mesh:
        expected = {
            seed: _job(mesh, seed, f"first-{seed}")["result"]["quantum_result"]["counts"]
            for seed in range(_PROGRAMS)
        }
        over, lock, number, replanned, slowest = threading.Event(), threading.Lock(), 0, 0, 0.0

        def work() -> None:
            nonlocal number, replanned, slowest
            while not over.is_set():
                with lock:
                    number += 1
                    key, seed = f"soak-{number}", random.randrange(_PROGRAMS)
                begun = time.monotonic()
                try:
                    job = _job(mesh, seed, key)
                except (MeshUnreachableError, MeshRefusedError, TimeoutError) as error:
                    findings.append(f"program {seed}, {key}: no end within {_PATIENCE:g} s: {error}")
                    continue
                with lock:
                    slowest = max(slowest, time.monotonic() - begun)
                    replanned += len(job["plans"]) > 1
                    if trouble := _judge(seed, job, expected):
                        findings.append(trouble)

        with ThreadPoolExecutor(_CLIENTS + 1) as pool:
            killer = pool.submit(_kill_at_random, mesh, Random(random.random()), over)
            clients = [pool.submit(work) for _ in range(_CLIENTS)]
            time.sleep(_SECONDS)
            over.set()
            for client in clients:
                client.result()
            killed = killer.result()
        twice = mesh.sql(
            "SELECT job_id, fragment_id, count(*) FROM runtime.fragment_commits GROUP BY 1, 2 HAVING count(*) > 1"
        )
        findings += [
            f"job {job}, fragment {fragment}: recorded {times} times" for job, fragment, times in twice
        ]
        held = _held(mesh)
        if held:
            findings.append(f"reservations that nobody uses hold capacity: {held}")
    figures = {
        "jobs": number,
        "kills": killed.total(),
        "kills by process": dict(sorted(killed.items())),
        "jobs with more than one plan": replanned,
        "slowest job, s": round(slowest, 1),
        "jobs not completed or with other counts": len(findings),
    }
    return Evidence("faults", not findings, figures, findings)


def _held(mesh: LocalMesh) -> int:
    """Reservations that still hold capacity a minute after the last job."""
    statement = "SELECT count(*) FROM reservation.reservations WHERE state IN ('PREPARED', 'COMMITTED') AND expires_at > now()"
    deadline = time.monotonic() + 60
    while (count := int(mesh.sql(statement)[0][0])) and time.monotonic() < deadline:
        time.sleep(1)
    return count
