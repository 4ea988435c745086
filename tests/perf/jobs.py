"""Whole jobs on a local mesh: start-up, sequential latency with its stages, throughput, failures."""

from __future__ import annotations

import http.client
import json
import tempfile
import threading
import time
from collections import defaultdict
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from qmesh_kit.ports import free_port
from tests.mesh import EXAMPLES, LocalMesh, local_mesh
from tests.perf.figure import Figure, quantile

_WARM = 30
_SEQUENTIAL = 150
_CLIENTS = 16
_BURST = 480
_STATES = ("QUEUED", "COMPILING", "RESERVING", "EXECUTING", "COMPLETED")


class _Client:
    """A lean HTTP client on one kept connection, so that the measurement is not of the client."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One JSON call."""
        payload = json.dumps(body) if body is not None else None
        self._connection.request(method, f"/api/v1{path}", payload, {"content-type": "application/json"})
        answer = self._connection.getresponse()
        data = answer.read()
        assert answer.status < 300, data
        return json.loads(data)

    def run(self, circuit: str, seed: int) -> tuple[float, dict[str, Any]]:
        """Submits, follows the events to the end and fetches the result; seconds, and the job."""
        begun = time.perf_counter()
        job_id = self.ask("POST", "/circuits/submit", {"circuit": circuit, "shots": 1024, "seed": seed})[
            "job_id"
        ]
        self._connection.request("GET", f"/api/v1/jobs/{job_id}/events")
        answer = self._connection.getresponse()
        for line in answer:
            if line.startswith(b"data: ") and any(state in line for state in (b'"COMPLETED"', b'"FAILED"')):
                event = json.loads(line[6:])
                if event["type"] == "status" and event["status"] in {"COMPLETED", "FAILED"}:
                    break
        answer.read()
        job = self.ask("GET", f"/jobs/{job_id}?result_detail=full")
        return time.perf_counter() - begun, job


def _cpu(mesh: LocalMesh) -> dict[str, float]:
    """CPU seconds of every process of the mesh, with its children."""
    found = {}
    for name, process in mesh.processes().items():
        total = 0.0
        for part in [
            psutil.Process(process["pid"]),
            *psutil.Process(process["pid"]).children(recursive=True),
        ]:
            if name == "supervisor" and part.pid != process["pid"]:
                continue
            times = part.cpu_times()
            total += times.user + times.system
        found[name] = total
    return found


def _spent(before: dict[str, float], after: dict[str, float], count: int) -> dict[str, float]:
    """CPU milliseconds of one operation, by process; nodes together."""
    spent: dict[str, float] = defaultdict(float)
    for name, total in after.items():
        known = {
            "gateway",
            "planner",
            "registry",
            "reservation",
            "runtime",
            "analyzer",
            "postgres",
            "nats-server",
        }
        if name != "supervisor":
            spent[name if name in known else "nodes"] += (total - before[name]) * 1e3 / count
    return dict(spent)


def _stages(client: _Client, job_id: str) -> dict[str, float]:
    """Milliseconds between the states of one job, by its history."""
    client._connection.request("GET", f"/api/v1/jobs/{job_id}/events")
    answer = client._connection.getresponse()
    at: dict[str, float] = {}
    for line in answer:
        if line.startswith(b"data: "):
            event = json.loads(line[6:])
            if event["type"] == "status":
                at[event["status"]] = datetime.fromisoformat(event["at"]).timestamp()
                if event["status"] == "COMPLETED":
                    break
    answer.read()
    return {f"{a} to {b}": (at[b] - at[a]) * 1e3 for a, b in pairwise(_STATES)}


def _burst(mesh: LocalMesh, circuit: str) -> tuple[float, int, list[float]]:
    """Jobs per second, failures and latencies of 16 clients that submit as fast as they are answered."""
    numbers = iter(range(_BURST))
    lock, latencies, failed = threading.Lock(), [], 0

    def work() -> None:
        nonlocal failed
        client = _Client(mesh.port)
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            took, job = client.run(circuit, number + 1)
            with lock:
                latencies.append(took)
                failed += job["status"] != "COMPLETED"

    begun = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _BURST / (time.perf_counter() - begun), failed, latencies


def run() -> list[Figure]:
    """The figures."""
    circuit = (EXAMPLES / "seed.qasm").read_text()
    with tempfile.TemporaryDirectory() as folder:
        home, port = Path(folder) / "home", free_port()
        with local_mesh(home, port):
            pass  # makes the data folders, so that the start below is a warm one
        with local_mesh(home, port) as mesh:
            started = float(mesh.status()["started_in"])
            client = _Client(port)
            for seed in range(_WARM):
                client.run(circuit, seed + 1)
            before = _cpu(mesh)
            latencies, stages = [], defaultdict(list)
            jobs = [client.run(circuit, seed + 1) for seed in range(_SEQUENTIAL)]
            sequential = _spent(before, _cpu(mesh), _SEQUENTIAL)
            latencies = [took * 1e3 for took, _ in jobs]
            for _, job in jobs:
                assert job["status"] == "COMPLETED", job["error"]
                for name, took in _stages(client, job["job_id"]).items():
                    stages[name].append(took)
            before = _cpu(mesh)
            rate, failed, burst = _burst(mesh, circuit)
            loaded = _spent(before, _cpu(mesh), _BURST)
    topology = "default topology, seed.qasm, 1,024 shots"
    by_part = ", ".join(f"{name} {ms:.1f}" for name, ms in sorted(loaded.items(), key=lambda item: -item[1]))
    figures = [
        Figure(
            "start to every service ready", started, "s", 10, 6, how="warm checkout, data folders made before"
        ),
        Figure(
            "one job, p50",
            quantile(latencies, 0.5),
            "ms",
            60,
            25,
            cpu_ms=sum(sequential.values()),
            how=f"{topology}, {_SEQUENTIAL} one after another, submit to result",
        ),
        Figure("one job, p95", quantile(latencies, 0.95), "ms", 80, 50, how="the same"),
        Figure(
            "16 clients",
            rate,
            "jobs/s",
            30,
            120,
            more=True,
            cpu_ms=sum(loaded.values()),
            how=f"{_BURST} jobs; CPU by part: {by_part}",
        ),
        Figure("16 clients, failed", failed, "jobs", 0, how="the same"),
        Figure("16 clients, p95", quantile(burst, 0.95) * 1e3, "ms", how="the same"),
    ]
    figures += [
        Figure(f"stage {name}, p50", quantile(values, 0.5), "ms", how="sequential, from the history")
        for name, values in stages.items()
    ]
    return figures
